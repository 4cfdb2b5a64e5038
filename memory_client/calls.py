"""A call: one operation with its arguments, in the form in which it goes over the wire."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID, uuid4

from memory_client.errors import FieldError, InvalidInput
from memory_client.operations import READING_POSTS

API_PATH = "/api/v1"
JSON_HEADERS = {"Content-Type": "application/json"}
#: Ends of paths where a second DELETE would delete the next message, or not find the first one.
NOT_REPEATABLE = ("/messages/last", "/messages")
PLACE = re.compile(r"{(\*?)(\w+)}")
PRECONDITIONS = frozenset({"if-match", "if-none-match"})
NOT_UNICODE = "has characters that are no Unicode text"
#: What a header may have: no control characters, and no space at either end.
HEADER_VALUE = re.compile(r"[!-~]([ -~]*[!-~])?")


@dataclass(slots=True, repr=False)
class Call:
    """`path`: below the API's, with its query. `is_repeatable`: a second time changes nothing and answers the same.

    Its text is for logs, where neither a query nor a body belongs.
    """

    method: str
    path: str
    headers: dict[str, str]
    content: bytes | None
    is_repeatable: bool

    def __repr__(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"


def build_call(
    method: str,
    path: str,
    params: Mapping[str, Any] | None = None,
    body: Any = None,
    headers: Mapping[str, str | None] | None = None,
    idempotency_key: str | None = None,
) -> Call:
    """Parameters and headers that are None are left out.

    A POST that writes carries an Idempotency-Key, so that a second attempt does nothing twice, and a PUT that was given
    one. Raises InvalidInput for a method, a path, a header or a body that cannot be sent.
    """
    if not (method.isascii() and method.isalpha()):
        raise reject_input("method", "must be one of HTTP, such as GET")
    method, path = method.upper(), find_path(path)
    sent = {name: value for name, value in (headers or {}).items() if value is not None}
    content = None if body is None else encode_json(body)
    if content is not None:
        sent |= JSON_HEADERS
    if method == "POST" and path not in READING_POSTS:
        idempotency_key = idempotency_key or uuid4().hex
    if method in ("POST", "PUT") and idempotency_key:
        sent["Idempotency-Key"] = idempotency_key
    check_headers(sent)
    query = encode_query(params) if params else ""
    return Call(method, f"{path}?{query}" if query else path, sent, content, is_repeatable(method, path, sent))


def find_path(path: str) -> str:
    """Return a path below the API's; `path` may begin with that. Raises InvalidInput for one without a slash."""
    if not path.startswith("/"):
        raise reject_input("path", "must begin with a slash, such as /memories")
    check_unicode(path, "path")
    return path.removeprefix(API_PATH) if path.startswith(f"{API_PATH}/") else path


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise InvalidInput that names a header whose name or value cannot be sent."""
    for name, value in headers.items():
        if not HEADER_VALUE.fullmatch(name) or (value and not HEADER_VALUE.fullmatch(value)):
            raise reject_input(name, "must be of visible ASCII characters, with spaces only between them")


def is_repeatable(method: str, path: str, headers: Iterable[str]) -> bool:
    """Return whether a second attempt may follow an uncertain first one.

    A precondition holds only for the first one: the second one would meet what the first one did.
    """
    conditional = method != "GET" and any(name.lower() in PRECONDITIONS for name in headers)
    return not conditional and not (method == "DELETE" and path.endswith(NOT_REPEATABLE))


def fill_path(template: str, **values: object) -> str:
    """Put values into the `{name}`s of a path, quoted. Only a `{*name}` may contain slashes: the server decodes an
    address before it looks for the operation, so that elsewhere a slash would lead to another one.

    Raises InvalidInput, which names the value.
    """
    return PLACE.sub(lambda place: quote_part(place[2], str(values[place[2]]), bool(place[1])), template)


def quote_part(name: str, text: str, may_have_slashes: bool) -> str:
    """Dots alone are quoted too: `..` in a path means the folder above."""
    if not text:
        raise reject_input(name, "must not be empty")
    if "/" in text and not may_have_slashes:
        raise reject_input(name, "must not contain a slash")
    return quote(check_unicode(text, name), safe="") if text.strip(".") else "%2E" * len(text)


def check_unicode(text: str, field: str) -> str:
    """Return the text. Raises InvalidInput, which names the field, for a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise reject_input(field, NOT_UNICODE) from error
    return text


def encode_query(params: Mapping[str, Any]) -> str:
    """Return the query of an address: lists are repeated, objects are JSON, None is left out."""
    pairs = [(name, encode_parameter(each)) for name, value in params.items() for each in iterate_values(value)]
    try:
        return urlencode(pairs)
    except UnicodeEncodeError as error:
        raise reject_input("query", NOT_UNICODE) from error


def iterate_values(value: Any) -> Iterable[Any]:
    if isinstance(value, list | tuple | set | frozenset):
        return value
    return () if value is None else (value,)


def encode_parameter(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return encode_json(value).decode()
    return value.isoformat() if isinstance(value, date) else str(value)


def encode_json(value: Any) -> bytes:
    """Raise InvalidInput for what JSON cannot say: NaN, infinity, lone surrogates, objects of other classes.

    The standard library's encoder: msgspec's would turn NaN into null.
    """
    try:
        return json.dumps(value, default=encode_object, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise reject_input("body", NOT_UNICODE) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise reject_input("body", f"is no JSON: {error}" if isinstance(error, TypeError) else "is no JSON") from error


def encode_object(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Iterable):
        return list(value)
    raise TypeError(f"an object of {type(value).__name__}")


def reject_input(field: str, message: str) -> InvalidInput:
    return InvalidInput(0, "The request was not sent", errors=[FieldError(field, message)])


def find_address(url: str | None) -> str:
    """Return the address below which every operation is. `url` may end with a slash or with the API's path.

    Raises ValueError for another scheme than http and https, and for a name that no host has.
    """
    url = (url or os.environ.get("MEMORY_URL") or "http://127.0.0.1:8000").strip()
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("The url must begin with http:// or https:// and name a host.")
    try:
        parts.hostname.encode("idna")
    except UnicodeError:
        raise ValueError("The url must name a host by a name that there can be.") from None
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("The url must have no user, no query and no fragment: the key alone says who calls.")
    return url.rstrip("/").removesuffix(API_PATH).rstrip("/") + API_PATH


def find_key(key: str | None) -> str:
    """Raise ValueError without quoting the key: it is a secret even when it is wrong."""
    key = (key or os.environ.get("MEMORY_KEY") or "").strip()
    if not key:
        raise ValueError("A key is needed: MemoryClient(url, key), or the variable MEMORY_KEY.")
    if not (key.isascii() and key.isprintable() and " " not in key):
        raise ValueError("The key has characters that no key has.")
    return key
