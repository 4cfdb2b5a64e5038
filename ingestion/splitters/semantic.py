"""Splitting by structure: programs by syntax tree, Markdown by headings, prose by sentences.

The vocabulary comes with the package; no model is needed.
"""

from collections.abc import Iterable
from functools import cache

import tree_sitter_python
from semantic_text_splitter import CodeSplitter, MarkdownSplitter, TextSplitter

from ingestion.chunking import CHUNK_OVERLAP_TOKENS, MAX_CHUNK_TOKENS

TIKTOKEN_MODEL = "gpt-4"


def split_into_pieces(text: str, kind: str) -> Iterable[tuple[int, str]]:
    return get_splitter(kind).chunk_indices(text)


@cache
def get_splitter(kind: str) -> TextSplitter | MarkdownSplitter | CodeSplitter:
    """Return the splitter of this kind, cached: loading a vocabulary takes a tenth of a second."""
    if kind == "py":
        return CodeSplitter.from_tiktoken_model(
            tree_sitter_python.language(), TIKTOKEN_MODEL, MAX_CHUNK_TOKENS, CHUNK_OVERLAP_TOKENS
        )
    return (MarkdownSplitter if kind == "md" else TextSplitter).from_tiktoken_model(
        TIKTOKEN_MODEL, MAX_CHUNK_TOKENS, CHUNK_OVERLAP_TOKENS
    )
