"""What the bench's form sends, read into settings."""

from dataclasses import dataclass
from typing import Any

from django.http import QueryDict
from pydantic import ValidationError

from memories.bench.setting import RECALL, SEARCH, Setting
from memories.memory_types import MemoryType

MODES = (("hybrid", "words and meaning"), ("text", "words only"), ("vector", "meaning only"))
RANKINGS = ((SEARCH, "search"), (RECALL, "recall: importance, age and use too"))
#: Names in the form of the floor: none, the model's own level, or a number.
NO_FLOOR, MODEL_FLOOR = "", "model"
#: Fields that the second setting may change, and those that both share.
VARIED = ("mode", "ranking", "limit", "floor", "threshold", "user_id", "memory_type", "tag")
SHARED = ("query",)
SECOND = "b_"


@dataclass(frozen=True)
class BenchForm:
    """The fields as text, by name, of the first and, if asked for, of the second setting."""

    first: dict[str, str]
    second: dict[str, str] | None

    @classmethod
    def read(cls, parameters: QueryDict) -> "BenchForm":
        def read_fields(prefix: str) -> dict[str, str]:
            varied = {name: parameters.get(f"{prefix}{name}", "").strip() for name in VARIED}
            return varied | {name: parameters.get(name, "").strip() for name in SHARED}

        return cls(read_fields(""), read_fields(SECOND) if parameters.get("compare") else None)

    @classmethod
    def of_setting(cls, setting: Setting) -> "BenchForm":
        """Return the fields that read into this setting; filters that the form does not have are lost."""
        filters = setting.filters
        types = (filters and filters.memory_types) or [""]
        tags = (filters and filters.tags) or [""]
        floor = MODEL_FLOOR if setting.floor is None else str(setting.floor) if setting.floor else NO_FLOOR
        first = {
            "query": setting.query,
            "mode": setting.mode,
            "ranking": setting.ranking,
            "limit": str(setting.limit),
            "floor": floor,
            "threshold": "" if setting.threshold is None else str(setting.threshold),
            "user_id": (filters and filters.user_id) or "",
            "memory_type": str(types[0]),
            "tag": tags[0],
        }
        return cls(first, None)


def build_setting(fields: dict[str, str]) -> Setting:
    """Return the setting. Raises ValueError with a text for the reader."""
    given: dict[str, Any] = {name: fields[name] for name in ("mode", "ranking") if fields[name]}
    given |= {name: parse_number(name, fields[name], kind) for name, kind in NUMBERS.items() if fields[name]}
    if fields["floor"] != NO_FLOOR:
        given["floor"] = None if fields["floor"] == MODEL_FLOOR else parse_number("floor", fields["floor"], float)
    try:
        return Setting.model_validate({"query": fields["query"], **given, "filters": build_filters(fields)})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][-1]) if first["loc"] else "setting"
        raise ValueError(f"{name}: {first['msg'].removeprefix('Value error, ')}") from error


NUMBERS = {"limit": int, "threshold": float}


def parse_number(name: str, text: str, kind: type) -> Any:
    try:
        return kind(text[:40])
    except ValueError as error:
        raise ValueError(f"{name}: must be a number") from error


def build_filters(fields: dict[str, str]) -> dict[str, Any] | None:
    filters: dict[str, Any] = {"user_id": fields["user_id"]} if fields["user_id"] else {}
    if fields["memory_type"]:
        filters["memory_types"] = [fields["memory_type"]]
    if fields["tag"]:
        filters["tags"] = [fields["tag"]]
    return filters or None


def describe_choices() -> dict[str, Any]:
    """Return the menus of the form for its template."""
    types = [(kind.value, kind.value.replace("_", " ")) for kind in MemoryType]
    floors = ((NO_FLOOR, "none"), (MODEL_FLOOR, "the model’s own"), *((f"0.{n}", f"0.{n}") for n in range(1, 10)))
    return {"modes": MODES, "rankings": RANKINGS, "types": types, "floors": floors}
