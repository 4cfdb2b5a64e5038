"""Add tags to memories, or remove them."""

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db.models import CharField, Expression, F, Func, Value
from django.db.models.functions import Now
from pydantic import Field

from memories.jobs.actions.base import Action, Batch, Outcome, apply_by_halves
from memory_site.core.http.fields import InputSchema, Tags

TAGS_FIELD = ArrayField(CharField(max_length=128))


class TagParameters(InputSchema):
    tags: Annotated[Tags, Field(min_length=1)]


def add_tags(tags: Sequence[str]) -> Expression:
    """Return the expression of the row's tags with those of the list at their end."""
    return Func(remove_tags(tags), Value(list(tags), TAGS_FIELD), function="array_cat", output_field=TAGS_FIELD)


def remove_tags(tags: Sequence[str]) -> Expression:
    """Return the expression of the row's tags without those of the list."""
    expression: Expression = F("tags")  # type: ignore[assignment]
    for tag in tags:
        expression = Func(
            expression, Value(tag, CharField(max_length=128)), function="array_remove", output_field=TAGS_FIELD
        )
    return expression


class Tag(Action):
    name, title, icon = "tag", "Add tags", "new_label"
    parameters = TagParameters

    def describe(self, parameters: TagParameters, memories: str) -> str:
        return f"Add {list_tags(parameters.tags)} to {memories}"

    def apply(self, batch: Batch) -> Outcome:
        tags = list(dict.fromkeys(batch.parameters.tags))

        def change(ids: Sequence[UUID]) -> None:
            batch.memories(ids).exclude(tags__contains=tags).update(tags=add_tags(tags), updated_at=Now())

        return apply_by_halves(batch.ids, change)


class Untag(Action):
    name, title, icon = "untag", "Remove tags", "label_off"
    parameters = TagParameters

    def describe(self, parameters: TagParameters, memories: str) -> str:
        return f"Remove {list_tags(parameters.tags)} from {memories}"

    def apply(self, batch: Batch) -> Outcome:
        tags = batch.parameters.tags
        batch.memories().filter(tags__overlap=tags).update(tags=remove_tags(tags), updated_at=Now())
        return Outcome(len(batch.ids))


def list_tags(tags: Sequence[str]) -> str:
    return f"the tag{'s' if len(tags) > 1 else ''} {', '.join(f'“{tag}”' for tag in tags)}"
