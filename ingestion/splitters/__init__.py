"""What cuts a text, one splitter per file. Each has `pieces`: from a text and the kind of its file (its suffix without
the dot) to (offset, content) pieces in the order of the text, each standing in it at its offset, counted in characters.
`settings.SPLITTER` names the one in use."""

#: Tokens of a piece at most, and those it shares with the one before it, counted by the vocabulary cl100k_base.
MAX_CHUNK_TOKENS, CHUNK_OVERLAP_TOKENS = 1_024, 20
