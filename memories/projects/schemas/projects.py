"""What projects, their groups and their dependencies look like on the wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from memories.insights.models import DependencyType
from memories.schemas import HitOut, VectorIn, without_repeats
from memories.search.filters import Kind
from memory_site.core.http.fields import In, JsonObject, Label, Query, Text, visible

DependencyKind = Literal[*DependencyType.values]
Relation = Literal["current", "dependency", "group", "global"]
Name = Annotated[Text, StringConstraints(min_length=1, max_length=200), AfterValidator(visible)]
Description = Annotated[Text, StringConstraints(max_length=10_000)]
Projects = Annotated[list[Label], Field(min_length=1, max_length=1000), AfterValidator(without_repeats)]


class GroupIn(In):
    """Projects that belong together. The same name again changes what is said of the group and leaves the rest."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "shop", "projects": ["shop-web", "shop-api"]}})

    name: Name
    description: Description = ""
    projects: Projects
    metadata: JsonObject = {}


class GroupPatch(In):
    """The fields to change; what is not named stays. Objects and lists are replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"example": {"projects": ["shop-web", "shop-api", "shop-mail"]}})

    name: Name = None
    description: Description = None
    projects: Projects = None
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


class DependencyIn(In):
    """One project leans on another. The same two and the same type again change what is said and leave the rest."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"source_project": "shop-web", "target_project": "shop-api", "type": "uses"}}
    )

    source_project: Label
    target_project: Label
    type: DependencyKind
    description: Description = ""
    metadata: JsonObject = {}

    @model_validator(mode="after")
    def on_another(self) -> "DependencyIn":
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


class ProjectSearchIn(In):
    """What to look for in what a project sees."""

    model_config = ConfigDict(json_schema_extra={"example": {"query": "retry with backoff", "project": "shop-web"}})

    query: Query
    project: Label
    vector: VectorIn | None = None
    mode: Literal["hybrid", "vector", "text"] = "hybrid"
    limit: int = Field(10, ge=1, le=100)
    memory_types: list[Kind] | None = Field(None, min_length=1, max_length=64)
    min_similarity: float | None = Field(
        None, ge=-1, le=1, description="Least cosine similarity of a hit that its words alone did not find."
    )


class ProjectHitOut(HitOut):
    score: float = Field(description="0 to 1: that of the search, times 1, 0.9 or 0.8 by relation; higher is better.")
    project: str = Field(description="By which it is nearest; one that looks secret is masked in insights.")
    relation: Relation
    is_current_project: bool


class ProjectSearchOut(Schema):
    results: list[ProjectHitOut]
    degraded: bool = Field(description="True when the embedder was away and only words were searched.")
    took_ms: float


class RepositoryIn(In):
    """A repository by its id or its name; of both the id counts, and nothing else is kept."""

    model_config = ConfigDict(json_schema_extra={"example": {"id": "shop-api"}})

    id: Label | None = None
    name: Label | None = None
    path: Label | None = None
    url: Annotated[Text, StringConstraints(max_length=2048)] | None = None

    @model_validator(mode="after")
    def some_name(self) -> "RepositoryIn":
        if self.id is None and self.name is None:
            raise ValueError("id or name is required")
        return self


def form(body: Any) -> str:
    return "[label]" if isinstance(body, str) else "[object]"


# The brackets keep these two names out of the errors that callers see.
Repository = Annotated[Annotated[Label, Tag("[label]")] | Annotated[RepositoryIn, Tag("[object]")], Discriminator(form)]


class RegisterIn(In):
    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "shop", "repositories": ["shop-web", {"id": "shop-api"}]}}
    )

    name: Name
    repositories: list[Repository] = Field(min_length=1, max_length=1000)
    description: Description = ""

    def projects(self) -> list[str]:
        return without_repeats([each if isinstance(each, str) else each.id or each.name for each in self.repositories])


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
