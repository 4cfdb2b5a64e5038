"""Descriptions of exceptions that hold nothing a caller sent.

The text of a database error may hold the row, that of a ValueError the value. So a text is shown only if its class is
known to be harmless; otherwise the class, the SQLSTATE, the names of table and constraint and the traceback remain.
"""

from collections.abc import Iterator
from types import TracebackType
from typing import Any

#: Classes, with their subclasses, whose texts name addresses, files, modules or attributes, and no value of a caller.
#: Names, because importing the libraries takes longer than most commands.
HARMLESS_CLASSES = frozenset({
    "builtins.AttributeError",
    "builtins.ImportError",
    "builtins.NameError",
    "builtins.NotImplementedError",
    "builtins.OSError",
    "builtins.RecursionError",
    "builtins.TypeError",
    "celery.exceptions.CeleryError",
    "django.core.exceptions.ImproperlyConfigured",
    "kombu.exceptions.KombuError",
    "memories.embeddings.base.EmbeddingError",
    "memory_site.core.db.locks.AlreadyRunning",
    "psycopg_pool.PoolTimeout",
    "redis.exceptions.RedisError",
    "sessions_app.namespaces.NamespacesFailed",
})  # fmt: skip
#: Where classes are defined whose texts are sentences of ours for an operator.
HARMLESS_PACKAGE = "memory_site.operations."
#: psycopg's errors of the connection. Theirs is the text of libpq or of a server that ends: no row was read.
CONNECTION_ERROR = "psycopg.OperationalError"
#: Classes of SQLSTATE: connection, resources, state of an object, operator's intervention, system.
HARMLESS_SQLSTATES = ("08", "53", "55", "57", "58")
WITHHELD = "(its text is withheld: it may hold data)"
#: Of each exception of a chain; the middle of a longer stack is left out.
MAX_FRAMES = 30
MAX_CHAINED = 5


def get_class_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def unwrap(error: BaseException) -> BaseException:
    """Return the error that Celery's pool wrapped to carry a traceback along."""
    inner = getattr(error, "exc", None)
    return inner if isinstance(inner, BaseException) and type(error).__module__.startswith("billiard") else error


def describe_error(error: BaseException) -> str:
    """Return class, facts and, if it is harmless, text of an error in one line."""
    error = unwrap(error)
    name, facts = get_class_name(type(error)).removeprefix("builtins."), list_database_facts(error)
    said = " ".join(str(error).split()) if is_harmless(error) else WITHHELD
    return f"{name}{f' [{facts}]' if facts else ''}{f': {said}' if said else ''}"


def is_harmless(error: BaseException) -> bool:
    """Return whether the text of an error holds no data: by its class, or as it only repeats a connection error."""
    names = {get_class_name(kind) for kind in type(error).__mro__}
    if not names.isdisjoint(HARMLESS_CLASSES) or any(name.startswith(HARMLESS_PACKAGE) for name in names):
        return True
    cause = error if CONNECTION_ERROR in names else error.__cause__
    return cause is not None and is_connection_error(cause) and str(cause) == str(error)


def is_connection_error(error: BaseException) -> bool:
    """Return whether an error of psycopg is about the connection: made by the client, or of a harmless class."""
    if CONNECTION_ERROR not in {get_class_name(kind) for kind in type(error).__mro__}:
        return False
    sqlstate = getattr(error, "sqlstate", None)
    return sqlstate is None or sqlstate.startswith(HARMLESS_SQLSTATES)


def list_database_facts(error: BaseException) -> str:
    """Return SQLSTATE and names of the schema that PostgreSQL reported, or that it reported to the error's cause."""
    diagnosis: Any = getattr(error, "diag", None) or getattr(error.__cause__, "diag", None)
    names = {"sqlstate": "SQLSTATE", "table_name": "table", "column_name": "column", "constraint_name": "constraint"}
    found = ((label, getattr(diagnosis, name, None)) for name, label in names.items())
    return ", ".join(f"{label} {value}" for label, value in found if value)


def get_sqlstate(error: BaseException) -> str | None:
    return getattr(error, "sqlstate", None) or getattr(error.__cause__, "sqlstate", None)


def format_traceback(error: BaseException) -> str:
    """Return the frames of an error and of what caused it, the first cause first, as Python would print them.

    Lines of code are left out: file and number find them.
    """
    parts = [format_one(each) for each in list_chain(unwrap(error))]
    return "\nThis led to:\n".join(reversed(parts))


def list_chain(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(MAX_CHAINED):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def format_one(error: BaseException) -> str:
    frames = list(list_frames(error.__traceback__))
    if len(frames) > MAX_FRAMES:
        half = MAX_FRAMES // 2
        frames[half:-half] = [f"  … {len(frames) - 2 * half} frames …"]
    return "\n".join(["Traceback (most recent call last):", *frames, describe_error(error)])


def list_frames(traceback: TracebackType | None) -> Iterator[str]:
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield f'  File "{code.co_filename}", line {traceback.tb_lineno}, in {code.co_name}'
        traceback = traceback.tb_next
