"""What the client raises. Every class is a `MemoryClientError`."""

from collections.abc import Sequence

import msgspec

#: Of each text in an error: a server that is not ours may send a book.
MAX_TEXT_LENGTH = 2_000


class FieldError(msgspec.Struct, frozen=True):
    """One field that is not valid: its path in the request, such as `filters.tags.0`, and what is wrong with it."""

    field: str
    message: str


def make_printable(text: str) -> str:
    """Return the beginning of a server's text, with a mark instead of what a terminal or a log would obey."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text[:MAX_TEXT_LENGTH])


class MemoryClientError(Exception):
    """An operation did not succeed.

    `is_temporary`: the same call may succeed later: the server was away or busy.
    `may_have_happened`: the server may have done what was asked in one of the attempts, though its answer is missing.
    """

    is_temporary = False
    may_have_happened = False


class ClientClosed(MemoryClientError):
    """The client was used after `close()`."""


class WrongEventLoop(MemoryClientError):
    """An asynchronous client was used from another event loop than the one it was first used from."""


class ConnectionFailed(MemoryClientError):
    """The server could not be reached, or the connection broke."""

    is_temporary = True

    def __init__(self, message: str, *, may_have_happened: bool = False) -> None:
        super().__init__(message)
        self.may_have_happened = may_have_happened


class TimedOut(ConnectionFailed):
    """The server did not answer in time."""


class ProblemError(MemoryClientError):
    """An answer that is an error: a problem document (RFC 9457), or whatever a proxy in between sent instead of one.

    `status`: of HTTP, 0 if the request was not sent. `errors`: the fields that are not valid. `request_id`: the id
    under which the server's log has the request. `retry_after`: the seconds that the server asked to wait, or None.
    """

    def __init__(
        self,
        status: int,
        title: str,
        detail: str = "",
        errors: Sequence[FieldError] = (),
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(status, title, detail, errors, request_id, retry_after)
        self.status, self.title, self.detail = status, make_printable(title), make_printable(detail)
        self.errors = [FieldError(make_printable(each.field), make_printable(each.message)) for each in errors]
        self.request_id = None if request_id is None else make_printable(request_id)
        self.retry_after = retry_after

    @property
    def field(self) -> str | None:
        """The first field that is not valid."""
        return self.errors[0].field if self.errors else None

    def __str__(self) -> str:
        fields = "; ".join(f"{error.field}: {error.message}" for error in self.errors)
        head = " ".join(str(part) for part in (self.status or "", self.title) if part)
        text = ": ".join(part for part in (head, " ".join(part for part in (self.detail, fields) if part)) if part)
        return f"{text} (request {self.request_id})" if self.request_id else text


class NotModified(ProblemError):
    """304: the memory that was read is still the one that `if_none_match` names."""


class InvalidInput(ProblemError):
    """400, 415 and 422: the request is not valid; `errors` names its fields."""


class NotAuthenticated(ProblemError):
    """401: the key is missing, unknown or revoked."""


class Forbidden(ProblemError):
    """403: the key has not the scope that this operation needs."""


class NotFound(ProblemError):
    """404: there is no such thing in the key's namespace."""


class Conflict(ProblemError):
    """409: something stands in the way, as another memory with the same content."""


class PreconditionFailed(ProblemError):
    """412: what `if_match` or `if_none_match` expects is not so (any more)."""


class TooLarge(ProblemError):
    """413: the request has more bytes than the server takes."""


class Unavailable(ProblemError):
    """502, 503, 504: the server, or something that it needs, is away or too busy."""

    is_temporary = True
    may_have_happened = True


class TooManyRequests(Unavailable):
    """429: the key may send more requests later. This one did nothing."""

    may_have_happened = False


class UnexpectedAnswer(ProblemError):
    """The answer is not one of Memory Site: a redirect, a page of HTML, or JSON of another shape."""


ERROR_BY_STATUS: dict[int, type[ProblemError]] = {
    304: NotModified,
    400: InvalidInput,
    401: NotAuthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    415: InvalidInput,
    422: InvalidInput,
    429: TooManyRequests,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}
