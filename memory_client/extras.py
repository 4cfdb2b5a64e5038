"""Frameworks of the adapters, none of which comes with the client."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def framework(extra: str) -> Iterator[None]:
    """Import a framework in this block. Raises ModuleNotFoundError that says how to install it, with the `name` and
    `path` of what is missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        text = f'{error.msg}. This adapter needs its framework: pip install "memory-site-client[{extra}]"'
        raise ModuleNotFoundError(text, name=error.name, path=error.path) from error
