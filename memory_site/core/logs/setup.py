"""Logging of every process: `settings.LOGGING`, and what Python itself writes about warnings and uncaught errors."""

import logging
import logging.config
import sys
import threading
from types import TracebackType
from typing import Any

TEXT, JSON = FORMATS = ("text", "json")
log = logging.getLogger("memory_site")
FORMATTERS = {
    TEXT: {"()": "memory_site.core.logs.formatters.TextFormatter"},
    JSON: {"()": "memory_site.core.logs.formatters.JsonFormatter"},
}
#: Libraries that tell of each message, task and connection at INFO.
TALKATIVE = ("amqp", "axes", "celery", "kombu", "mcp")


def build_logging(level: str, log_format: str) -> dict[str, Any]:
    """Return `settings.LOGGING`: one handler on stderr."""
    quiet = level if level == "DEBUG" else get_higher_level(level, "WARNING")
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": FORMATTERS[log_format]},
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # Client errors are returned to the client, not logged.
            "django.request": {"level": get_higher_level(level, "ERROR")},
            **{name: {"level": quiet} for name in TALKATIVE},
        },
    }


def get_higher_level(one: str, other: str) -> str:
    return max(one, other, key=logging.getLevelNamesMapping().__getitem__)


def configure(config: dict[str, Any]) -> None:
    """Configure logging (`settings.LOGGING_CONFIG`); warnings and uncaught errors become lines like others.

    A hook that something else has installed, such as a test runner, stays.
    """
    logging.config.dictConfig(config)
    logging.captureWarnings(True)
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = log_uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = log_uncaught_in_thread


def log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Log the error that ends this process. A person at a terminal sees it as Python shows it."""
    if sys.stderr.isatty() or issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
    else:
        log.critical("This process ends by an error.", exc_info=(kind, error, traceback))


def log_uncaught_in_thread(args: Any) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else "?"
        log.critical("The thread %s ends by an error.", name, exc_info=args.exc_value)
