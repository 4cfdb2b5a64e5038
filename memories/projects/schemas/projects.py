"""Request and response shapes of projects, their groups and dependencies."""

import re
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag, model_validator

from memories.insights.models import DependencyType
from memories.schemas import FloorIn, FloorOut, HitOut, VectorIn, remove_duplicates
from memories.search.filters import MemoryTypeIn
from memory_site.core.http.field_errors import field_error
from memory_site.core.http.fields import (
    MAX_LABEL_LENGTH,
    OMITTED,
    InputSchema,
    JsonObject,
    Label,
    QueryText,
    Text,
    check_visible,
)
from memory_site.core.http.path_labels import PathLabel

DependencyKind = Literal[*DependencyType.values]  # type: ignore[valid-type]  # derived from the choices
ProjectRelation = Literal["current", "dependency", "group", "global"]
GroupName = Annotated[Text, StringConstraints(min_length=1, max_length=200), AfterValidator(check_visible)]
ProjectDescription = Annotated[Text, StringConstraints(max_length=10_000)]
GroupProjects = Annotated[list[Label], Field(min_length=1, max_length=1000), AfterValidator(remove_duplicates)]


class GroupIn(InputSchema):
    """A group of projects. If a group of this name exists, the given fields replace its own and the others stay."""

    model_config = ConfigDict(json_schema_extra={"example": {"name": "shop", "projects": ["shop-web", "shop-api"]}})

    name: GroupName = Field(description="The group's name.")
    description: ProjectDescription = ""
    projects: GroupProjects = Field(description="Its projects, 1 to 1,000.")
    metadata: JsonObject = {}


class GroupPatch(InputSchema):
    """The fields to change; absent fields stay. Objects and lists are replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"example": {"projects": ["shop-web", "shop-api", "shop-mail"]}})

    name: GroupName = Field(default=OMITTED, description="The group's name.")
    description: ProjectDescription = OMITTED
    projects: GroupProjects = Field(default=OMITTED, description="Its projects, 1 to 1,000.")
    metadata: JsonObject = OMITTED


class GroupOut(Schema):
    id: UUID
    name: str = Field(description="The group's name.")
    description: str
    projects: list[str] = Field(description="Its projects.")
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class GroupPage(Schema):
    results: list[GroupOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


class DependencyIn(InputSchema):
    """A dependency of one project on another. If the same two projects have a dependency of this type, the given fields
    replace its own and the others stay."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"source_project": "shop-web", "target_project": "shop-api", "type": "uses"}}
    )

    source_project: PathLabel
    target_project: PathLabel
    type: DependencyKind = Field(description="How the source depends on the target.")
    description: ProjectDescription = ""
    metadata: JsonObject = {}

    @model_validator(mode="after")
    def reject_self_dependency(self) -> "DependencyIn":
        if self.source_project == self.target_project:
            raise field_error("target_project", "a project cannot depend on itself")
        return self


class DependencyOut(Schema):
    id: UUID
    source_project: str
    target_project: str
    type: DependencyKind = Field(description="How the source depends on the target.")
    description: str
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class DependencyPage(Schema):
    results: list[DependencyOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


class DirectedOut(DependencyOut):
    direction: Literal["outbound", "inbound"] = Field(description="Seen from the project of the path.")


class DirectedPage(Schema):
    results: list[DirectedOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


class ProjectSearchIn(InputSchema):
    """A search of what a project sees."""

    model_config = ConfigDict(json_schema_extra={"example": {"query": "retry with backoff", "project": "shop-web"}})

    query: QueryText
    project: Label = Field(description="The project that searches.")
    vector: VectorIn | None = None
    mode: Literal["hybrid", "vector", "text"] = "hybrid"
    limit: int = Field(default=10, ge=1, le=100)
    memory_types: list[MemoryTypeIn] | None = Field(default=None, min_length=1, max_length=64)
    min_similarity: float | None = Field(
        default=None, ge=-1, le=1, description="Minimum cosine similarity of a hit that was found by meaning alone."
    )
    floor: FloorIn = None


class ProjectHitOut(HitOut):
    score: float = Field(
        description="0 to 1: the score of the search times 1 (current), 0.9 (dependency), 0.8 (group) or 0.7 (global)."
    )
    project: str = Field(description="The nearest project of the hit; redacted in insights if its name looks secret.")
    relation: ProjectRelation
    is_current_project: bool


class ProjectSearchOut(Schema):
    results: list[ProjectHitOut]
    floor: FloorOut
    degraded: bool = Field(description="True if the embedder was unavailable and only words were searched.")
    took_ms: float


# A path begins at a root, a home or the working directory; "acme/shop-api" is a name.
PATH_BEGINNING = re.compile(r"[/\\]|[.]{1,2}[/\\]|~[^/\\]*[/\\]|[A-Za-z]:[/\\]|[a-z][a-z+]*://")


def get_base_name(path: str) -> str:
    """Return the last part of a path or URL, without `.git`. Raises ValueError if that is no name."""
    name = re.split(r"[/\\:]", path.rstrip("/\\"))[-1].removesuffix(".git")
    if name.strip(".~") == "":
        raise ValueError("must end with the name of a repository")
    return check_name(name)


def get_project_name(repository: str) -> str:
    """Return the base name of a path or URL, and any other name as it is. Raises ValueError."""
    return get_base_name(repository) if PATH_BEGINNING.match(repository) else check_name(repository)


def check_name(name: str) -> str:
    if len(name) > MAX_LABEL_LENGTH:
        raise ValueError(f"a name may have at most {MAX_LABEL_LENGTH} characters")
    return check_visible(name)


Location = Annotated[Text, StringConstraints(min_length=1, max_length=4096)]
RepositoryName = Annotated[Location, AfterValidator(get_project_name)]


class RepositoryIn(InputSchema):
    """A repository by its id, its name, or the base name of its path or URL: the first one given is the project."""

    model_config = ConfigDict(json_schema_extra={"example": {"path": "/srv/repositories/shop-api"}})

    id: Label | None = Field(default=None, description="The repository's id.")
    name: Label | None = Field(default=None, description="Its name, which is used when there is no id.")
    path: Location | None = Field(default=None, description="Its path, whose base name is used when there is no name.")
    url: Location | None = Field(default=None, description="Its URL, whose base name is used when there is no path.")

    @model_validator(mode="after")
    def set_name(self) -> "RepositoryIn":
        if self.id is None and self.name is None:
            self.name = self.get_location_name()
        return self

    def get_location_name(self) -> str:
        """Return the base name of the path or URL. Raises ValidationError if none is given, or if it has none."""
        field, location = ("path", self.path) if self.path else ("url", self.url)
        if not location:
            raise field_error("id", "id, name, path or url is required")
        try:
            return get_base_name(location)
        except ValueError as error:
            raise field_error(field, str(error)) from None


def get_repository_tag(body: Any) -> str:
    """Return the branch of the union to validate with."""
    return "[label]" if isinstance(body, str) else "[object]"


# Names in brackets are left out of the field paths in error responses.
Repository = Annotated[
    Annotated[RepositoryName, Tag("[label]")] | Annotated[RepositoryIn, Tag("[object]")],
    Discriminator(get_repository_tag),
]


class RegisterIn(InputSchema):
    model_config = ConfigDict(
        json_schema_extra={"example": {"name": "shop", "repositories": ["shop-web", {"id": "shop-api"}]}}
    )

    name: GroupName = Field(description="The group's name.")
    repositories: list[Repository] = Field(
        min_length=1, max_length=1000, description="Its repositories, 1 to 1,000, by id or as objects."
    )
    description: ProjectDescription = ""

    def projects(self) -> list[str]:
        names = [each if isinstance(each, str) else each.id or each.name for each in self.repositories]
        return remove_duplicates([name for name in names if name is not None])


class ActivityOut(Schema):
    project: str
    memories: int = Field(description="Including insights.")
    insights: int = Field(description="How many of the memories are insights.")
    last_at: datetime = Field(description="When the newest of them was created, in UTC.")


class CommonWordOut(Schema):
    word: str = Field(description="The word, in lower case.")
    projects: int = Field(description="In how many projects it occurs.", json_schema_extra={"example": 2})
    names: list[str] = Field(description="The ten projects in which it occurs most often.")
    occurrences: int = Field(description="How often it occurs in all of them.")


class PatternsOut(Schema):
    activity: list[ActivityOut] = Field(description="Of the last `days` days, the most active first.")
    common: list[CommonWordOut] = Field(
        description="Words of at least five letters in the newest memories of two projects or more: the ten in most."
    )
