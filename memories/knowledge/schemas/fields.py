"""Field types that clusters, patterns and preferences share."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from memories.schemas import remove_duplicates
from memory_site.core.http.fields import Label, Tags, check_json_object

NEXT_CURSOR_DESCRIPTION = "The `cursor` of the following page."
PREVIOUS_CURSOR_DESCRIPTION = "The `cursor` of the page before."


def sort_unique(tags: list[str]) -> list[str]:
    """Return the distinct tags in code point order, which is also the byte order of UTF-8."""
    return sorted(set(tags))


OrderedTags = Annotated[Tags, Field(min_length=1), AfterValidator(sort_unique)]
Topics = Annotated[list[Label], Field(max_length=64), AfterValidator(remove_duplicates)]


def check_value_bounds(value: Any) -> Any:
    """Apply the bounds of a JSON object to any JSON value: one that is no object is checked as the member of one."""
    check_json_object(value if isinstance(value, dict) else {"": value})
    return value


JsonValue = Annotated[Any, BeforeValidator(check_value_bounds)]
