"""Text splitters, one per module; `settings.SPLITTER` names the function in use.

Each module has `split_into_pieces(text, kind)`, where `kind` is the file's suffix without the dot. It yields (offset,
content) in the order of the text; `text[offset:]` starts with `content`, and offsets count characters.
"""

#: Maximum tokens of a piece, and the overlap with the previous one, in tokens of the vocabulary cl100k_base.
MAX_CHUNK_TOKENS, CHUNK_OVERLAP_TOKENS = 1_024, 20
