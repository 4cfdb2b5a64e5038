"""Filters that lists of the console have besides those of the API: exclusions, several values, what is unusual."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from django.db.models import Exists, OuterRef, Q
from pydantic import Field

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
        *("entity_type", "entity_id", "has_summary", "related", "used", "expires_before"),
    }
)


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

    def plain(self) -> Filters:
        """Return the same as Filters if nothing else is set: searches know those best."""
        given = self.model_dump(exclude_none=True)
        return self if given.keys() - Filters.model_fields.keys() else Filters.model_construct(**given)

    def split(self) -> tuple["ListFilters", "ListFilters"]:
        """Return the filters that an index serves, and SLOW_FILTERS."""
        given = dict(self)
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
