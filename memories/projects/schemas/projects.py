"""What projects, their groups and their dependencies look like on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from memories.insights.models import DependencyType
from memories.schemas import HitOut, VectorIn, remove_duplicates
from memories.search.filters import MemoryTypeIn
from memory_site.core.http.fields import InputSchema, JsonObject, Label, QueryText, Text, check_visible

DependencyKind = Literal[*DependencyType.values]
ProjectRelation = Literal["current", "dependency", "group", "global"]
GroupName = Annotated[Text, StringConstraints(min_length=1, max_length=200), AfterValidator(check_visible)]
ProjectDescription = Annotated[Text, StringConstraints(max_length=10_000)]
GroupProjects = Annotated[list[Label], Field(min_length=1, max_length=1000), AfterValidator(remove_duplicates)]


class GroupIn(InputSchema):
    """Projects that belong together. The same name again changes what is said of the group and leaves the rest."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "shop", "projects": ["shop-web", "shop-api"]}})

    name: GroupName
    description: ProjectDescription = ""
    projects: GroupProjects
    metadata: JsonObject = {}


class GroupPatch(InputSchema):
    """The fields to change; what is not named stays. Objects and lists are replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"example": {"projects": ["shop-web", "shop-api", "shop-mail"]}})

    name: GroupName = None
    description: ProjectDescription = None
    projects: GroupProjects = None
    metadata: JsonObject = None


class GroupOut(Schema):
    id: UUID
    name: str
    description: str
    projects: list[str]
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class GroupPage(Schema):
    results: list[GroupOut]
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


class DependencyIn(InputSchema):
    """One project leans on another. The same two and the same type again change what is said and leave the rest."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"source_project": "shop-web", "target_project": "shop-api", "type": "uses"}}
    )

    source_project: Label
    target_project: Label
    type: DependencyKind
    description: ProjectDescription = ""
    metadata: JsonObject = {}

    @model_validator(mode="after")
    def reject_self_dependency(self) -> "DependencyIn":
        if self.source_project == self.target_project:
            raise ValueError("a project cannot depend on itself")
        return self


class DependencyOut(Schema):
    id: UUID
    source_project: str
    target_project: str
    type: DependencyKind
    description: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class DependencyPage(Schema):
    results: list[DependencyOut]
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


class DirectedOut(DependencyOut):
    direction: Literal["outbound", "inbound"] = Field(description="As seen from the project.")


class DirectedPage(Schema):
    results: list[DirectedOut]
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


class ProjectSearchIn(InputSchema):
    """What to look for in what a project sees."""

    model_config = ConfigDict(json_schema_extra={"example": {"query": "retry with backoff", "project": "shop-web"}})

    query: QueryText
    project: Label
    vector: VectorIn | None = None
    mode: Literal["hybrid", "vector", "text"] = "hybrid"
    limit: int = Field(10, ge=1, le=100)
    memory_types: list[MemoryTypeIn] | None = Field(None, min_length=1, max_length=64)
    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="Least cosine similarity of a hit that its words alone did not find."
    )


class ProjectHitOut(HitOut):
    score: float = Field(description="0 to 1: that of the search, times 1, 0.9 or 0.8 by relation; higher is better.")
    project: str = Field(description="By which it is nearest; one that looks secret is masked in insights.")
    relation: ProjectRelation
    is_current_project: bool


class ProjectSearchOut(Schema):
    results: list[ProjectHitOut]
    degraded: bool = Field(description="True when the embedder was away and only words were searched.")
    took_ms: float


class RepositoryIn(InputSchema):
    """A repository by its id or its name; of both the id counts, and nothing else is kept."""

    model_config = ConfigDict(json_schema_extra={"example": {"id": "shop-api"}})

    id: Label | None = None
    name: Label | None = None
    path: Label | None = None
    url: Annotated[Text, StringConstraints(max_length=2048)] | None = None

    @model_validator(mode="after")
    def require_id_or_name(self) -> "RepositoryIn":
        if self.id is None and self.name is None:
            raise ValueError("id or name is required")
        return self


def get_repository_tag(body: Any) -> str:
    return "[label]" if isinstance(body, str) else "[object]"


# The brackets keep these two names out of the errors that callers see.
Repository = Annotated[
    Annotated[Label, Tag("[label]")] | Annotated[RepositoryIn, Tag("[object]")], Discriminator(get_repository_tag)
]


class RegisterIn(InputSchema):
    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "shop", "repositories": ["shop-web", {"id": "shop-api"}]}}
    )

    name: GroupName
    repositories: list[Repository] = Field(min_length=1, max_length=1000)
    description: ProjectDescription = ""

    def projects(self) -> list[str]:
        return remove_duplicates(
            [each if isinstance(each, str) else each.id or each.name for each in self.repositories]
        )


class ActivityOut(Schema):
    project: str
    memories: int = Field(description="Insights among them.")
    insights: int
    last_at: datetime


class CommonWordOut(Schema):
    word: str
    projects: int
    names: list[str] = Field(description="The ten in which it stands most often.")
    occurrences: int


class PatternsOut(Schema):
    activity: list[ActivityOut] = Field(description="Of the last days, the most active first.")
    common: list[CommonWordOut] = Field(
        description="Words of five letters or more in the newest memories of two projects or more: the ten in most."
    )
