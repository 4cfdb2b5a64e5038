"""Answers of the server: decoded, or raised as the exception that they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from time import time
from typing import Any
from urllib.parse import urljoin, urlsplit, urlunsplit

import msgspec

from memory_client.calls import API_PATH
from memory_client.errors import ERROR_BY_STATUS, FieldError, ProblemError, UnexpectedAnswer

#: One type, or one for each status.
ResultType = Any
NO_CONTENT = HTTPStatus.NO_CONTENT
#: Of operations that may answer without a body.
MAY_BE_EMPTY = ("DELETE", "HEAD")
#: What decoding raises for JSON of another shape, for what is none, and for what is nested too deeply.
UNREADABLE = (msgspec.MsgspecError, RecursionError)
WRONG_ADDRESS = "This is not the API of Memory Site: check the url that the client was made with."


class Problem(msgspec.Struct):
    """A problem document. Those of other servers may lack everything."""

    title: str = ""
    detail: str = ""
    request_id: str | None = None
    errors: list[FieldError] | None = None


@dataclass(slots=True)
class Answer:
    """`url`: what was asked. `headers` has lower-case or case-insensitive names."""

    url: str
    status: int
    headers: Mapping[str, str]
    content: bytes


class Body:
    """The body of an answer, part by part. Raises UnexpectedAnswer once it has more than `most` bytes: what is packed
    into a few can be unpacked into more than there is memory."""

    def __init__(self, status: int, most: int | None) -> None:
        self.status, self.most = status, most
        self.parts: list[bytes] = []
        self.size = 0

    def add(self, part: bytes) -> None:
        self.size += len(part)
        if self.most is not None and self.size > self.most:
            detail = f"It has more than the {self.most} bytes of max_answer_bytes."
            raise UnexpectedAnswer(self.status, "The answer is too large", detail)
        self.parts.append(part)

    @property
    def content(self) -> bytes:
        return b"".join(self.parts)


@cache
def get_decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def read_result(answer: Answer, kind: ResultType, method: str) -> Any:
    """Return the decoded body, or None where the operation of this method and type needs none. Raises the ProblemError
    that another status than 2xx means, and UnexpectedAnswer for a body that is missing or another one."""
    if not 200 <= answer.status < 300:
        raise build_error(answer)
    if kind is bytes and answer.status != NO_CONTENT:
        return answer.content
    if not answer.content:
        return accept_empty(answer, kind, method)
    result = decode(answer, pick_type(answer.status, kind))
    if (etag := answer.headers.get("etag")) and hasattr(result, "etag"):
        result.etag = etag
    return result


def accept_empty(answer: Answer, kind: ResultType, method: str) -> None:
    if kind is not None or method not in MAY_BE_EMPTY:
        raise UnexpectedAnswer(answer.status, "The answer is empty", WRONG_ADDRESS)


def pick_type(status: int, kind: ResultType) -> Any:
    if not isinstance(kind, dict):
        return kind
    if status not in kind:
        raise UnexpectedAnswer(status, "The answer has another status", WRONG_ADDRESS)
    return kind[status]


def decode(answer: Answer, kind: Any) -> Any:
    if "json" not in answer.headers.get("content-type", ""):
        raise UnexpectedAnswer(answer.status, "The answer is no JSON", WRONG_ADDRESS)
    try:
        return get_decoder(Any if kind is None else kind).decode(answer.content)
    except UNREADABLE as error:
        request_id = answer.headers.get("x-request-id")
        raise UnexpectedAnswer(answer.status, "The answer has another shape", str(error), (), request_id) from error


def build_error(answer: Answer) -> ProblemError:
    retry_after = read_retry_after(answer.headers.get("retry-after"))
    if 300 <= answer.status < 400 and answer.status != HTTPStatus.NOT_MODIFIED:
        detail = explain_redirect(answer.url, answer.headers.get("location", ""))
        return UnexpectedAnswer(answer.status, "The server redirects", detail)
    problem = read_problem(answer)
    request_id = problem.request_id or answer.headers.get("x-request-id")
    kind = ERROR_BY_STATUS.get(answer.status, ProblemError)
    return kind(answer.status, problem.title, problem.detail, problem.errors or (), request_id, retry_after)


def explain_redirect(url: str, location: str) -> str:
    """Say where a redirect leads, and what to set."""
    here, there = strip_secrets(url), find_target(url, location)
    path = API_PATH + here.partition(API_PATH)[2]
    is_api = there.startswith(("http://", "https://")) and there.endswith(path) and there != here
    site = there.removesuffix(path) if is_api else "the address at which the site itself answers"
    return (
        f"{here} leads to {there}. Redirects are not followed. "
        f"Set MEMORY_URL, or the url that the client was made with, to {site}."
    )


def find_target(url: str, location: str) -> str:
    try:
        return strip_secrets(urljoin(url, location)) if location else "another address"
    except ValueError:
        return "another address"


def strip_secrets(url: str) -> str:
    """Return an address without user and query, which are secrets where a page to sign in at gets them."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def read_problem(answer: Answer) -> Problem:
    """Return what a body says, or only the name of the status when it is no problem document."""
    try:
        problem = get_decoder(Problem).decode(answer.content)
    except UNREADABLE:
        problem = Problem()
    problem.title = problem.title or name_status(answer.status)
    return problem


def name_status(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown status"


def read_retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After, which may be a date (RFC 9110, 10.2.3), or None if it says nothing."""
    if not value:
        return None
    try:
        seconds = (
            float(value) if value.isascii() and value.isdigit() else parsedate_to_datetime(value).timestamp() - time()
        )
    except (ValueError, OverflowError):
        return None
    return max(0.0, seconds)
