"""Typed conditions on memories, the same for list, delete and every kind of search."""

from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

from django.db.models import Q
from pydantic import BeforeValidator, Field

from memories.memory_types import MemoryType
from memories.states import EVERY_STATE, State
from memory_site.core.http.fields import InputSchema, JsonObject, Key, Label, Tags, Timestamp


def parse_uuid(value: object) -> object:
    return UUID(value) if isinstance(value, str) else value


def parse_memory_type(value: object) -> object:
    if isinstance(value, str) and value not in set(MemoryType):
        raise ValueError(f"must be one of {', '.join(MemoryType)}")
    return MemoryType(value) if isinstance(value, str) else value


def parse_state(value: object) -> object:
    if isinstance(value, str) and value not in EVERY_STATE:
        raise ValueError(f"must be one of {', '.join(EVERY_STATE)}")
    return State(value) if isinstance(value, str) else value


UuidIn = Annotated[UUID, BeforeValidator(parse_uuid)]
MemoryTypeIn = Annotated[MemoryType, BeforeValidator(parse_memory_type)]
StateIn = Annotated[State, BeforeValidator(parse_state)]
MAX_METADATA_CHOICES = 100
MetadataChoices = Annotated[list[JsonObject] | None, Field(min_length=1, max_length=MAX_METADATA_CHOICES)]


class Filters(InputSchema):
    """Conditions that must all hold. No part of a request is expanded into ORM keywords: each field is listed here.

    `states` is none of the conditions: `MemoryQuerySet.in_namespace` takes it, because it widens what is found.
    """

    user_id: Label | None = Field(default=None, description="Only memories of this user.")
    agent_id: Label | None = Field(default=None, description="Only memories of this agent.")
    workflow_id: Label | None = Field(default=None, description="Only memories of this workflow.")
    repo_id: Label | None = Field(default=None, description="Only memories of this repository.")
    session_id: Label | None = Field(default=None, description="Only memories of this session.")
    source_system: Label | None = Field(default=None, description="Only memories that this system stored.")
    entity_system: Label | None = Field(default=None, description="Only memories of records of this system.")
    memory_types: list[MemoryTypeIn] | None = Field(default=None, min_length=1, max_length=64)
    tags: Tags | None = Field(default=None, min_length=1, description="Every one of these.")
    any_tags: Tags | None = Field(default=None, min_length=1, description="At least one of these.")
    min_importance: int | None = Field(default=None, ge=1, le=5)
    min_confidence: float | None = Field(default=None, ge=0, le=1)
    created_after: Timestamp | None = Field(default=None, description="At this moment or later.")
    created_before: Timestamp | None = Field(default=None, description="Before this moment.")
    metadata: JsonObject | None = Field(default=None, description="Contained in the memory's metadata.")
    any_metadata: MetadataChoices = Field(
        default=None, description="At least one of these objects is contained in the memory's metadata."
    )
    without_metadata: MetadataChoices = Field(
        default=None, description="None of these objects is contained in the memory's metadata."
    )
    important: bool | None = Field(default=None, description="Whether `metadata.important` is true.")
    ids: list[UuidIn] | None = Field(
        default=None, min_length=1, max_length=1000, description="Only memories with one of these ids."
    )
    entity_ids: list[Label] | None = Field(
        default=None, min_length=1, max_length=1000, description="Only memories of records with one of these ids."
    )
    keys: list[Key] | None = Field(
        default=None, min_length=1, max_length=1000, description="Only memories with one of these keys."
    )
    key_prefix: Key | None = Field(default=None, description="Only memories whose key begins with this text.")
    states: list[StateIn] | None = Field(
        default=None,
        min_length=1,
        max_length=len(EVERY_STATE),
        description="Only memories in one of these states; without it only active ones. Others than those have no"
        " vectors, so that a search finds them by their words.",
    )

    @property
    def is_empty(self) -> bool:
        """Whether there is no condition. `metadata: {}` is none: all metadata contains it, also in `any_metadata`.
        Neither are `states` with the active ones: they select more than no states do."""
        no_conditions = {"states"} if State.ACTIVE in (self.states or ()) else set()
        if {} in (self.any_metadata or ()):
            no_conditions.add("any_metadata")
        conditions = self.model_dump(exclude=no_conditions)
        return all(value is None or value == {} for value in conditions.values())

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name. `dict(filters)` would take the field `keys` for the method of a mapping."""
        return dict(iter(self))

    def labels(self) -> "Filters":
        """Return only the conditions on columns that the embedding table repeats."""
        return Filters(user_id=self.user_id, memory_types=self.memory_types, repo_id=self.repo_id)

    def conditions(self) -> Q:
        """Return the conditions on memories_memory."""
        conditions = Q()
        for condition in self.iter_conditions():
            conditions &= condition
        return conditions

    def iter_conditions(self) -> Iterator[Q]:
        for label in ("user_id", "agent_id", "workflow_id", "repo_id", "session_id", "source_system", "entity_system"):
            if (value := getattr(self, label)) is not None:
                yield Q((label, value))
        if self.memory_types is not None:
            yield Q(memory_type__in=[str(kind) for kind in self.memory_types])
        if self.tags is not None:
            yield Q(tags__contains=self.tags)
        if self.any_tags is not None:
            yield Q(tags__overlap=self.any_tags)
        if self.min_importance is not None:
            yield Q(importance__gte=self.min_importance)
        if self.min_confidence is not None:
            yield Q(confidence__gte=self.min_confidence)
        if self.created_after is not None:
            yield Q(created_at__gte=self.created_after)
        if self.created_before is not None:
            yield Q(created_at__lt=self.created_before)
        if self.metadata is not None:
            yield Q(metadata__contains=self.metadata)
        if self.any_metadata is not None:
            yield contains_any(self.any_metadata)
        if self.without_metadata is not None:
            yield ~contains_any(self.without_metadata)
        if self.important is not None:
            important = Q(metadata__contains={"important": True})
            yield important if self.important else ~important
        if self.ids is not None:
            yield Q(pk__in=self.ids)
        if self.entity_ids is not None:
            yield Q(entity_id__in=self.entity_ids)
        if self.keys is not None:
            yield Q(key__in=self.keys)
        if self.key_prefix is not None:
            yield Q(key__startswith=self.key_prefix)


def contains_any(objects: list[JsonObject]) -> Q:
    """Return the condition that the metadata contains one of these objects."""
    return Q(*(("metadata__contains", each) for each in objects), _connector=Q.OR)
