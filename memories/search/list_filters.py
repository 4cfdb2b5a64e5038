"""Filters that lists of the console have besides those of the API: exclusions, several values, what is unusual."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from django.db.models import Exists, OuterRef, Q
from pydantic import AfterValidator, Field

from memories.cleanup.conditions import FINDINGS, has_length, is_unused
from memories.graph.models import Relationship
from memories.search.filters import Filters
from memory_site.core.http.fields import Label, Timestamp

#: Labels that can be excluded, or be one of several values.
ChoiceField = Literal[
    "memory_type", "user_id", "source_system", "tags", "agent_id", "workflow_id", "repo_id", "session_id",
    "entity_system",
]  # fmt: skip
MAX_CHOICES = 200
Choices = dict[ChoiceField, Annotated[list[Label], Field(min_length=1, max_length=MAX_CHOICES)]]


#: Filters for which no index is sure to find the newest rows soon.
SLOW_FILTERS = frozenset(
    {
        *("min_importance", "min_confidence", "max_confidence", "important", "one_of", "none_of", "chunks"),
        *("keys", "key_prefix", "entity_type", "entity_id", "has_summary", "related", "used", "expires_before"),
    }
)


def check_finding(name: str) -> str:
    if name not in FINDINGS:
        raise ValueError(f"must be one of {', '.join(FINDINGS)}")
    return name


Finding = Annotated[str, AfterValidator(check_finding)]


class ListFilters(Filters):
    """`one_of` and `none_of`: values by the name of a label. What has no such label is not excluded by a value."""

    one_of: Choices | None = None
    none_of: Choices | None = None
    chunks: bool | None = Field(default=None, description="Whether it is a chunk of a document.")
    entity_type: Label | None = None
    entity_id: Label | None = None
    has_summary: bool | None = None
    related: bool | None = Field(default=None, description="Whether it has a relationship.")
    used: bool | None = Field(default=None, description="Whether it was ever recalled.")
    expires_before: Timestamp | None = None
    max_confidence: float | None = Field(default=None, ge=0, le=1)
    max_importance: int | None = Field(default=None, ge=1, le=5)
    used_less_than: int | None = Field(default=None, ge=0)
    unused_since: Timestamp | None = Field(default=None, description="And neither preserved nor important.")
    min_characters: int | None = Field(default=None, ge=0, description="By the clean-up's last look.")
    max_characters: int | None = Field(default=None, ge=0)
    finding: Annotated[str, AfterValidator(check_finding)] | None = Field(
        default=None, description="A name of memories.cleanup.conditions."
    )

    def plain(self) -> Filters:
        """Return the same as Filters if nothing else is set: searches know those best."""
        given = self.model_dump(exclude_none=True)
        return self if given.keys() - Filters.model_fields.keys() else Filters.model_construct(**given)

    def split(self) -> tuple["ListFilters", "ListFilters"]:
        """Return the filters that an index serves, and SLOW_FILTERS."""
        given = self.as_dict()
        fast = {name: None if name in SLOW_FILTERS else value for name, value in given.items()}
        slow = {name: value if name in SLOW_FILTERS else None for name, value in given.items()}
        return ListFilters.model_construct(**fast), ListFilters.model_construct(**slow)

    def iter_conditions(self) -> Iterator[Q]:
        yield from super().iter_conditions()
        for label, values in (self.one_of or {}).items():
            yield match_one_of(label, values)
        for label, values in (self.none_of or {}).items():
            yield ~match_one_of(label, values)
        for name in ("entity_type", "entity_id"):
            if (value := getattr(self, name)) is not None:
                yield Q((name, value))
        yield from self._iter_flags()
        if self.expires_before is not None:
            yield Q(expires_at__lt=self.expires_before)
        if self.max_confidence is not None:
            yield Q(confidence__lte=self.max_confidence)
        yield from self._iter_clean_up()

    def _iter_clean_up(self) -> Iterator[Q]:
        if self.max_importance is not None:
            yield Q(importance__lte=self.max_importance)
        if self.used_less_than is not None:
            yield Q(access_count__lt=self.used_less_than)
        if self.unused_since is not None:
            yield is_unused(self.unused_since)
        if self.min_characters is not None or self.max_characters is not None:
            yield has_length(self.min_characters, self.max_characters)
        if self.finding is not None:
            yield FINDINGS[self.finding]()

    def _iter_flags(self) -> Iterator[Q]:
        flags: dict[str, Any] = {
            "chunks": Q(document_id__isnull=False),
            "has_summary": Q(summary__isnull=False),
            "used": Q(access_count__gt=0),
            "related": is_related(),
        }
        for name, condition in flags.items():
            if (value := getattr(self, name)) is not None:
                yield condition if value else ~condition


def match_one_of(name: str, values: list[str]) -> Q:
    return Q(tags__overlap=values) if name == "tags" else Q((f"{name}__in", values))


def is_related() -> Q:
    ends = Relationship.objects.filter(namespace_id=OuterRef("namespace_id"))
    return Q(Exists(ends.filter(from_memory_id=OuterRef("id")))) | Q(Exists(ends.filter(to_memory_id=OuterRef("id"))))
