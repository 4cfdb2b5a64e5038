"""What stands in the way of a change to a client's configuration."""


class ConfigurationError(Exception):
    """Raised before anything is changed. The message says what is wrong and where; the command prints it."""


class BrokenDocument(ConfigurationError):
    """Raised for a text that is not what its format demands."""

    def __init__(self, reason: str, text: str, position: int) -> None:
        line = text.count("\n", 0, position) + 1
        column = position - text.rfind("\n", 0, position)
        super().__init__(f"line {line}, column {column}: {reason}")
