"""Which memories are meant: the same answer for a list of the console, its facets, a job and the API.

A selection is a namespace, filters and, if wanted, a text to contain or a pattern to match. It dumps to JSON, so that a
job can be stored and run later over the rows that match then. A search by meaning is no selection: its hits are `ids`.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from django.db import DataError, connections, router, transaction
from django.db.models import F, Func, IntegerField, Q, TextField, Value
from django.db.models.functions import Cast, Lower, StrIndex
from django.db.models.lookups import GreaterThan
from pydantic import ValidationError

from memories.models import Memory, MemoryQuerySet
from memories.search.filters import Filters
from memories.search.list_filters import ListFilters
from memories.states import has_state, not_expired
from sessions_app.models import Namespace

TextMode = Literal["literal", "pattern"]
LITERAL: TextMode = "literal"
PATTERN: TextMode = "pattern"
EMBEDDED, WAITING, REFUSED = "embedded", "waiting", "refused"
#: The states of a memory's embedding, and the query of each.
EMBEDDING_FILTERS = {
    EMBEDDED: MemoryQuerySet.embedded,
    WAITING: MemoryQuerySet.waiting,
    REFUSED: MemoryQuerySet.refused,
}
#: The fields that a text is looked for in; JSON is read as its text.
TEXT_FIELDS, JSON_FIELDS = ("content", "summary"), ("data", "metadata")
MAX_TEXT_LENGTH = 4096
SEARCHED_TEXTS = (*TEXT_FIELDS, *(f"{name}_text" for name in JSON_FIELDS))


@dataclass(frozen=True)
class Selection:
    """`namespace_id` None: of every namespace, for the console only. `text` "": whatever the text.

    `mode`: `literal` finds the text as it stands, `pattern` a regular expression of PostgreSQL, both in any case and in
    content, summary, data and metadata. `embedding`: a key of EMBEDDING_FILTERS, or None for any.
    """

    namespace_id: int | None
    filters: ListFilters = field(default_factory=ListFilters)
    text: str = ""
    mode: TextMode = LITERAL
    embedding: str | None = None

    def __post_init__(self) -> None:
        if type(self.filters) is Filters:
            object.__setattr__(self, "filters", ListFilters.model_construct(**self.filters.model_dump()))

    def queryset(self) -> MemoryQuerySet:
        """Return the memories in no order. With a text, evaluating them reads every row that the filters keep: for a
        worker, or within `memories.search.text_scan`."""
        return self.narrow(Memory.objects.filter(not_expired()))

    def narrow(self, memories: MemoryQuerySet) -> MemoryQuerySet:
        """Return those of the memories that the selection means: active ones, unless it names states."""
        rows = self.narrow_without_text(memories)
        return match_text(rows, self.text, self.mode) if self.text else rows

    def narrow_without_text(self, memories: MemoryQuerySet) -> MemoryQuerySet:
        if self.namespace_id is not None:
            memories = memories.filter(namespace_id=self.namespace_id)
        memories = memories.filter(has_state(self.filters.states)).matching(self.filters)
        return EMBEDDING_FILTERS[self.embedding](memories) if self.embedding in EMBEDDING_FILTERS else memories

    @property
    def search_filters(self) -> Filters:
        """Return the filters as `find_memories` takes them."""
        return self.filters.plain()

    def in_namespace(self, namespace_id: int) -> "Selection":
        """Return the same selection in one namespace: a job is of one."""
        return replace(self, namespace_id=namespace_id)

    @property
    def is_slow(self) -> bool:
        """Whether a condition has no index, so that rows that match may be far behind the newest ones."""
        return bool(self.text) or not self.filters.split()[1].is_empty

    @property
    def is_empty(self) -> bool:
        """Whether nothing but the namespace narrows the selection."""
        return self.filters.is_empty and not self.text and self.embedding is None

    def dump(self) -> dict[str, Any]:
        """Return the selection as JSON, without what is not set."""
        given = asdict(self) | {"filters": self.filters.model_dump(mode="json", exclude_none=True)}
        return {name: value for name, value in given.items() if value not in (None, "", {})}

    @classmethod
    def load(cls, stored: dict[str, Any]) -> "Selection":
        """Return what `dump` made. Raises ValueError for anything else, with a text that names the field."""
        unknown = set(stored) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"{min(unknown)}: a selection has no such field")
        try:
            filters = ListFilters.model_validate_json(json.dumps(stored.get("filters", {})))
        except ValidationError as error:
            raise ValueError(describe_validation_error(error)) from error
        return cls(**{"namespace_id": None} | stored | {"filters": filters}).checked()

    def checked(self) -> "Selection":
        """Return the selection. Raises ValueError for a field that has no meaning, with a text that names it."""
        if not (self.namespace_id is None or type(self.namespace_id) is int):
            raise ValueError("namespace_id: must be a number")
        if not isinstance(self.text, str):
            raise ValueError("text: must be text")
        if self.mode not in (LITERAL, PATTERN):
            raise ValueError("mode: must be literal or pattern")
        if self.embedding is not None and self.embedding not in EMBEDDING_FILTERS:
            raise ValueError(f"embedding: must be one of {', '.join(EMBEDDING_FILTERS)}")
        check_text(self.text, self.mode)
        return self

    def describe(self) -> str:
        """Return the selection in words: 'in “shop”, user_id “ada”, containing “invoice”'."""
        parts = [self._describe_namespace()]
        filters = self.filters.model_dump(mode="json", exclude_none=True)
        parts += [f"{name} {describe_value(value)}" for name, value in iter_named(filters)]
        if self.embedding:
            parts.append(f"embedding {self.embedding}")
        if self.text:
            parts.append(f"{'matching' if self.mode == PATTERN else 'containing'} “{self.text}”")
        return ", ".join(parts)

    def _describe_namespace(self) -> str:
        if self.namespace_id is None:
            return "in every namespace"
        name = Namespace.objects.filter(pk=self.namespace_id).values_list("name", flat=True).first()
        return f"in “{name}”" if name else "in a namespace that is not there"


def iter_named(filters: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each condition with its name in words."""
    for name, value in filters.items():
        if name in ("one_of", "none_of"):
            prefix = "" if name == "one_of" else "not "
            yield from ((f"{prefix}{label.replace('_', ' ')}", values) for label, values in value.items())
        else:
            yield name.replace("_", " "), value


def describe_value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(describe_value, value[:5])) + (f" and {len(value) - 5} more" if len(value) > 5 else "")
    return f"“{value}”" if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def describe_validation_error(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{first['loc'][0]}: {first['msg'].removeprefix('Value error, ')}"


def match_text(memories: MemoryQuerySet, text: str, mode: TextMode) -> MemoryQuerySet:
    """Return the memories with the text, or a match of the pattern, in one of their fields."""
    return with_json_as_text(memories).filter(build_text_condition(text, mode))


def with_json_as_text(memories: MemoryQuerySet) -> MemoryQuerySet:
    """Alias `data_text` and `metadata_text`, for `build_text_condition`."""
    return memories.alias(**{f"{name}_text": Cast(name, TextField()) for name in JSON_FIELDS})


def build_text_condition(text: str, mode: TextMode) -> Q:
    """Return the condition that one of SEARCHED_TEXTS contains the text or matches the pattern."""
    condition = Q()
    for name in SEARCHED_TEXTS:
        condition |= Q(GreaterThan(find_position(name, text, mode), 0))
    return condition


def find_position(name: str, text: str, mode: TextMode) -> Func:
    """Return the position, from 1, of the first match in a field, 0 or NULL for none; in any case of letters.

    Not ILIKE, which takes twice as long, nor a regular expression for a literal, which takes ten times as long.
    """
    if mode == PATTERN:
        return Func(F(name), Value(text), 1, 1, 0, Value("i"), function="regexp_instr", output_field=IntegerField())
    wanted = escape_for_json(text) if name.removesuffix("_text") in JSON_FIELDS else text
    return StrIndex(Lower(name), Lower(Value(wanted, output_field=TextField())))


def escape_for_json(text: str) -> str:
    """Return the text as it stands within a string of a JSON column: quotes and line breaks escaped."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def check_text(text: str, mode: TextMode) -> None:
    """Raise ValueError, with a text to display, for what no memory can contain and for a pattern that is none."""
    if len(text) > MAX_TEXT_LENGTH:
        raise ValueError(f"text: must be at most {MAX_TEXT_LENGTH} characters long")
    if "\0" in text or any("\ud800" <= each <= "\udfff" for each in text):
        raise ValueError("text: contains a character that no memory can contain")
    if text and mode == PATTERN:
        check_pattern(text)


def check_pattern(pattern: str) -> None:
    """Raise ValueError, with PostgreSQL's reason, for what is no regular expression."""
    alias = router.db_for_read(Memory)
    try:
        with transaction.atomic(alias), connections[alias].cursor() as cursor:
            cursor.execute("SELECT '' ~* %s", [pattern])
    except DataError as error:
        reason = str(error).splitlines()[0].removeprefix("invalid regular expression: ")
        raise ValueError(f"pattern: {reason}") from None
