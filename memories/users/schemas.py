"""Wire shapes of users and what is stored about them."""

from datetime import datetime

from ninja import Schema
from pydantic import Field

from memories.graph.schemas.relationships import RelationshipOut
from memories.schemas import MemoryOut


class UserMemoriesOut(Schema):
    memories: list[MemoryOut] = Field(description="The newest 1,000.")
    relationships: list[RelationshipOut] = Field(description="Among these memories; the strongest 10,000.")


class UserTotalOut(Schema):
    user_id: str = Field(description="The user.")
    memories: int = Field(description="Without expired ones.")
    relationships: int


class UserPage(Schema):
    results: list[UserTotalOut]
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


class UserStatisticsOut(Schema):
    memories: int = Field(description="How many memories the user has.")
    relationships: int
    entities: int = Field(description="How many of them describe a record of another system.")
    types: dict[str, int] = Field(description="Numbers of memories by type.")
    first_at: datetime = Field(description="When the oldest memory was created, in UTC.")
    latest_at: datetime = Field(description="When the newest memory was created, in UTC.")
    refreshed_at: datetime = Field(description="When these figures were computed, in UTC.")


class UserOut(UserTotalOut):
    statistics: UserStatisticsOut | None = Field(
        description="As of the last refresh, without memories that had expired then; null before the first one."
    )


class ErasedOut(Schema):
    """Rows by kind; kinds without any are left out."""

    user_id: str = Field(description="The user.")
    matched: dict[str, int] = Field(
        description="How many rows belong to the user, by kind.",
        json_schema_extra={"example": {"memories": 42, "vectors": 42}},
    )
    erased: dict[str, int] = Field(description="Empty in a dry run.")
