"""Errors of the domain, which knows no HTTP. The table in `memory_site/api.py` says which status each one becomes.

A module raises one of these, or a subclass of its own; the message is a sentence for the client.
"""


class DomainError(Exception):
    """The base of these errors; without a message, an error's docstring is its message."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__)


class NotFound(DomainError):
    """The object does not exist in the caller's namespace."""


class Conflict(DomainError):
    """The object's present state does not allow this."""


class Busy(DomainError):
    """The server is busy; the client may retry in a few seconds."""


class InvalidField(DomainError):
    """A value is not valid for reasons that a schema cannot know."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field} {message}")
        self.field, self.message = field, message
