"""LlamaIndex's SentenceSplitter, whatever the kind of text. Vocabulary and sentence finder come with its packages:
nothing is downloaded."""

from collections.abc import Iterator
from functools import cache

from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.utils import get_tokenizer
from nltk.tokenize import PunktSentenceTokenizer

from ingestion.splitters import CHUNK_OVERLAP_TOKENS, MAX_CHUNK_TOKENS


def split_into_pieces(text: str, kind: str) -> Iterator[tuple[int, str]]:
    """It tells no offsets, but gives what it cut unchanged and in order: each piece is looked for from where the one
    before it was found. Of what a text repeats the first place is taken."""
    place = 0
    for content in get_splitter().split_text(text):
        place = text.index(content, place)
        yield place, content


@cache
def get_splitter() -> SentenceSplitter:
    """Making one takes a second, once."""
    return SentenceSplitter(
        chunk_size=MAX_CHUNK_TOKENS,
        chunk_overlap=CHUNK_OVERLAP_TOKENS,
        tokenizer=get_tokenizer(),
        chunking_tokenizer_fn=split_sentences,
    )


def split_sentences(text: str) -> list[str]:
    """As LlamaIndex finds them, but its own function downloads data that it does not need to where NLTK_DATA is set.
    Nothing is lost between two, nor before the first."""
    starts = [start for start, _ in PunktSentenceTokenizer().span_tokenize(text)][1:]
    return [text[start:end] for start, end in zip([0, *starts], [*starts, len(text)], strict=True)]
