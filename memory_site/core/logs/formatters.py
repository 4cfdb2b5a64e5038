"""How a line of a log looks: text for people, or JSON for programs."""

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any

from pydantic_core import to_json

from memory_site.core.logs.context import get_fields
from memory_site.core.logs.errors import describe_error, format_traceback, get_sqlstate
from memory_site.core.logs.messages import get_message

#: What our own lines may add by `extra=`.
EXTRA_FIELDS = ("status", "duration_ms", "state", "namespace", "task", "task_id")
#: What a copy of a record has in place of its exception, which was described already.
NO_EXCEPTION = {"args": (), "exc_info": None, "exc_text": None, "stack_info": None}
RESET, COLOURS = "\x1b[0m", {"WARNING": "\x1b[33m", "ERROR": "\x1b[31m", "CRITICAL": "\x1b[1;31m"}


class TextFormatter(logging.Formatter):
    """Time, level, logger and message; a traceback below. The level has a colour if stderr is a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self.colours = COLOURS if sys.stderr.isatty() and not os.environ.get("NO_COLOR") else {}

    def format(self, record: logging.LogRecord) -> str:
        colour = self.colours.get(record.levelname)
        level = f"{colour}{record.levelname}{RESET}" if colour else record.levelname
        lines = [f"{self.formatTime(record)} {level} {record.name} {get_message(record)}"]
        if record.exc_info and record.exc_info[1]:
            lines.append(format_traceback(record.exc_info[1]))
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One JSON object a line. structlog, which takes a tenth of a second to import, is loaded by the first instance.

    `process` names the kind of the process where `set_process_kind` is not called.
    """

    def __init__(self, process: str | None = None) -> None:
        from structlog.processors import JSONRenderer, TimeStamper  # noqa: PLC0415
        from structlog.stdlib import ProcessorFormatter, add_log_level, add_logger_name  # noqa: PLC0415

        super().__init__()
        self.named = {"process": process} if process else {}
        self.pipeline = ProcessorFormatter(
            foreign_pre_chain=[TimeStamper(fmt="iso", utc=True), add_log_level, add_logger_name, self.add_fields],
            processors=[ProcessorFormatter.remove_processors_meta, JSONRenderer(serializer=serialize)],
        )

    def format(self, record: logging.LogRecord) -> str:
        """Return the line. The pipeline gets a copy of the record that holds a clean message and no exception."""
        clean = logging.makeLogRecord(record.__dict__ | NO_EXCEPTION | {"msg": get_message(record)})
        clean.error = record.exc_info[1] if record.exc_info else None
        return self.pipeline.format(clean)

    def add_fields(self, logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        record = event["_record"]
        extra = {name: value for name in EXTRA_FIELDS if (value := getattr(record, name, None)) is not None}
        fields = get_fields() | self.named | extra
        if record.error is not None:
            fields |= get_error_fields(record.error)
        event.update((name, value) for name, value in fields.items() if value is not None)
        return event


def get_error_fields(error: BaseException) -> dict[str, Any]:
    return {"error": describe_error(error), "sqlstate": get_sqlstate(error), "traceback": format_traceback(error)}


def serialize(fields: dict[str, Any], **_: object) -> str:
    return to_json(fields, fallback=str, inf_nan_mode="null").decode()
