"""LlamaIndex's SentenceSplitter for every kind of text.

Vocabulary and sentence tokenizer come with its packages: nothing is downloaded.
"""

from collections.abc import Iterator
from functools import cache

from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.utils import get_tokenizer
from nltk.tokenize import PunktSentenceTokenizer

from ingestion.chunking import CHUNK_OVERLAP_TOKENS, MAX_CHUNK_TOKENS
from ingestion.splitters.segments import iter_segments


def split_into_pieces(text: str, kind: str) -> Iterator[tuple[int, str, str]]:
    """Yield (offset, piece, ""): this splitter knows no headers.

    The splitter returns no offsets, but unchanged pieces in order: each one is searched from the offset of the previous
    one, so of a repeated text the first occurrence in its segment is taken.
    """
    for offset, end, _ in iter_segments(text, kind):
        for content in get_splitter().split_text(text[offset:end]):
            offset = text.index(content, offset)
            yield offset, content, ""


@cache
def get_splitter() -> SentenceSplitter:
    """Return the splitter, cached: creating one takes a second."""
    return SentenceSplitter(
        chunk_size=MAX_CHUNK_TOKENS,
        chunk_overlap=CHUNK_OVERLAP_TOKENS,
        tokenizer=get_tokenizer(),
        chunking_tokenizer_fn=split_sentences,
    )


def split_sentences(text: str) -> list[str]:
    """Split into sentences with NLTK's Punkt tokenizer, as LlamaIndex does, without losing any character.

    LlamaIndex's own function downloads data into NLTK_DATA where that is set, although it does not need them.
    """
    starts = [start for start, _ in PunktSentenceTokenizer().span_tokenize(text)][1:]
    return [text[start:end] for start, end in zip([0, *starts], [*starts, len(text)], strict=True)]
