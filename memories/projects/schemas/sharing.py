"""Request and response shapes of sharing an insight."""

from typing import Annotated, Any

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from memories.insights.schemas import InsightText
from memories.insights.storage import MAX_PROJECTS_PER_INSIGHT
from memories.schemas import MemoryOut, remove_duplicates
from memories.search.filters import UuidIn
from memory_site.core.http.field_errors import field_error
from memory_site.core.http.fields import InputSchema, Label
from memory_site.core.http.path_labels import PathLabel

TargetProjects = Annotated[
    list[Label], Field(min_length=1, max_length=MAX_PROJECTS_PER_INSIGHT), AfterValidator(remove_duplicates)
]


class ShareFields(InputSchema):
    """The projects to share an insight with. Both lists mean the same and may be given together."""

    workflow_id: PathLabel | None = Field(default=None, description="The workflow that shares it; null for none.")
    source_project: Label | None = Field(default=None, description="The project that shares it, which keeps seeing it.")
    target_projects: TargetProjects | None = Field(default=None, description="The projects that see it from now on.")
    target_repositories: TargetProjects | None = Field(default=None, description="The same as `target_projects`.")

    @model_validator(mode="after")
    def require_targets(self) -> "ShareFields":
        if self.target_projects is None and self.target_repositories is None:
            raise field_error("target_projects", "target_projects or target_repositories is required")
        return self

    def targets(self) -> list[str]:
        return remove_duplicates([*(self.target_projects or []), *(self.target_repositories or [])])


class ShareTextIn(ShareFields):
    """An insight by its text; it may be new."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "insight": "Deploys are safe on Fridays when the migration ran on Thursday.",
                "workflow_id": "nightly",
                "source_project": "shop-web",
                "target_repositories": ["shop-api"],
            }
        }
    )

    fields_of_other_forms = ("insight_id",)

    insight: InsightText = Field(description="The text of the insight.")


class ShareKnownIn(ShareFields):
    """A stored insight, by its id."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {"insight_id": "01980000-0000-7000-8000-000000000000", "target_projects": ["shop-api"]}
        }
    )

    insight_id: UuidIn = Field(description="The id of the insight.")


def get_share_tag(body: Any) -> str:
    """Return the branch of the union to validate with."""
    return "[known]" if isinstance(body, dict) and "insight_id" in body else "[text]"


# Names in brackets are left out of the field paths in error responses.
ShareIn = Annotated[
    Annotated[ShareTextIn, Tag("[text]")] | Annotated[ShareKnownIn, Tag("[known]")], Discriminator(get_share_tag)
]


class SharedOut(Schema):
    memory: MemoryOut
    projects: list[str] = Field(description="All projects that see it now; names that look secret are redacted.")
