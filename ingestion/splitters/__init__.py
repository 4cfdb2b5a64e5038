"""Text splitters, one per module; `settings.SPLITTER` names the function in use.

Each module has `split_into_pieces(text, kind)`, where `kind` is the file's suffix without the dot. It yields (offset,
content, headers) in the order of the text; `text[offset:]` starts with `content`, and offsets count characters. The
headers are lines from further above, such as the class that a method belongs to; they end with a line break.
"""
