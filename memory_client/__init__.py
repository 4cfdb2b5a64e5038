"""The client of Memory Site, a memory server for AI agents. It needs no Django."""

from memory_client.client import AsyncMemoryClient, MemoryClient
from memory_client.errors import (
    ClientClosed,
    Conflict,
    ConnectionFailed,
    FieldError,
    Forbidden,
    InvalidInput,
    MemoryClientError,
    NotAuthenticated,
    NotFound,
    NotModified,
    PreconditionFailed,
    ProblemError,
    TimedOut,
    TooLarge,
    TooManyRequests,
    Unavailable,
    UnexpectedAnswer,
    WrongEventLoop,
)
from memory_client.version import __version__

__all__ = [
    "AsyncMemoryClient",
    "ClientClosed",
    "Conflict",
    "ConnectionFailed",
    "FieldError",
    "Forbidden",
    "InvalidInput",
    "MemoryClient",
    "MemoryClientError",
    "NotAuthenticated",
    "NotFound",
    "NotModified",
    "PreconditionFailed",
    "ProblemError",
    "TimedOut",
    "TooLarge",
    "TooManyRequests",
    "Unavailable",
    "UnexpectedAnswer",
    "WrongEventLoop",
    "__version__",
]
