"""Suggestions for misspelt names, and errors of validators that see several fields."""

from typing import Annotated

import pytest
from pydantic import AfterValidator, ValidationError, model_validator

from memory_site.core.http.field_errors import clarify_message, field_error, suggest_name
from memory_site.core.http.fields import InputSchema

NAMES = [
    "created_at",
    "content",
    "entity",
    "entity.id",
    "entity.type",
    "memory_type",
    "tags",
    "user_id",
    "interactions",
]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("contnet", "content"),
        ("contents", "content"),
        ("memoryType", "memory_type"),
        ("memory-type", "memory_type"),
        ("MEMORY_TYPE", "memory_type"),
        ("type", "memory_type"),
        ("tag", "tags"),
        ("user", "user_id"),
        ("userId", "user_id"),
        ("interaction", "interactions"),
        ("created", "created_at"),
        ("updated_at", None),
        ("id", None),
        ("text", None),
        ("", None),
        ("content" * 1000, None),
        ("ü" * 60, None),
    ],
)
def test_a_name_is_suggested_if_it_is_near(given, meant):
    assert suggest_name(given, NAMES) == ("" if meant is None else f"; did you mean `{meant}`?")


class Inner(InputSchema):
    user_id: str | None = None


class Outer(InputSchema):
    fields_of_other_forms = ("answers",)
    filters: Inner | None = None
    many: list[Inner] = []
    number: int = 0

    @model_validator(mode="after")
    def reject_seven(self) -> "Outer":
        if self.number == 7:
            raise field_error("filters.user_id", "may not be given with {7}")
        return self


def list_errors(schema: type[InputSchema], values: object) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        schema.model_validate(values)
    return {".".join(map(str, each["loc"])): each["msg"] for each in caught.value.errors()}


def test_unknown_fields_of_all_levels_are_explained_and_others_are_reported_as_ever():
    values = {"fitlers": 1, "user_id": 1, "answer": 1, "colour": 1, "filters": {"user": 1}, "number": "x"}
    assert list_errors(Outer, values | {"many": [{}, {"useer_id": 1}]}) == {
        "filters.user": "unknown field; did you mean `user_id`?",
        "many.1.useer_id": "unknown field; did you mean `user_id`?",
        "number": "Input should be a valid integer",
        "fitlers": "unknown field; did you mean `filters`?",
        "user_id": "unknown field; did you mean `filters.user_id`?",
        "answer": "unknown field; did you mean `answers`?",
        "colour": "unknown field",
    }


def test_a_body_with_very_many_unknown_fields_is_refused_without_suggestions():
    errors = list_errors(Outer, {f"nubmer{number}": 1 for number in range(1_000)})
    assert len(errors) == 1_000
    assert not any("did you mean" in message for message in errors.values())


def test_the_error_of_a_validator_names_its_field():
    assert list_errors(Outer, {"number": 7}) == {"filters.user_id": "may not be given with {7}"}


@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("at least 1 item after validation, not 0", "", "must not be empty"),
        ("at least 1 item after validation, not 0", [], "must not be empty"),
        ("at most 2 items after validation, not 3", "abc", "must have at most 2 characters, not 3"),
        ("at most 2 items after validation, not 3", ["a", "b", "c"], "must have at most 2 elements, not 3"),
    ],
    ids=["empty text", "empty list", "long text", "long list"],
)
def test_a_count_is_of_characters_or_of_elements(limit, value, message):
    assert clarify_message(f"Value should have {limit}", value) == message


def test_each_object_of_a_body_is_validated_once():
    validated = []

    class Inner(InputSchema):
        name: Annotated[str, AfterValidator(lambda name: validated.append(name) or name)]

    class Middle(InputSchema):
        inner: Inner

    class Outer(InputSchema):
        middle: list[Middle]

    body = {"middle": [{"inner": {"name": "tea"}}, {"inner": {"name": "rye"}}]}
    assert Outer.model_validate(body).model_dump() == body
    assert validated == ["tea", "rye"]
