"""Text splitters, one per module; `settings.SPLITTER` names the function in use.

Each module has `split_into_pieces(text, kind)`, where `kind` is the file's suffix without the dot. It yields (offset,
content) in the order of the text; `text[offset:]` starts with `content`, and offsets count characters.
"""
