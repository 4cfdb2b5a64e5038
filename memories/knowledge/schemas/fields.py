"""Field types that clusters, patterns and preferences share."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from memories.schemas import without_repeats
from memory_site.core.http.fields import Label, Tags, bounded_object

NEXT = "The `cursor` of the following page."
PREVIOUS = "The `cursor` of the page before."


def in_order(tags: list[str]) -> list[str]:
    """Each once, in the order of their code points, which is that of their bytes."""
    return sorted(set(tags))


OrderedTags = Annotated[Tags, Field(min_length=1), AfterValidator(in_order)]
Topics = Annotated[list[Label], Field(max_length=64), AfterValidator(without_repeats)]


def bounded_value(value: Any) -> Any:
    """Any JSON within the bounds of an object; what is none is measured as the only thing in one."""
    bounded_object(value if isinstance(value, dict) else {"": value})
    return value


JsonValue = Annotated[Any, BeforeValidator(bounded_value)]
