"""Wire shapes of repositories."""

from datetime import datetime

from ninja import Schema
from pydantic import Field


class RepositoryOut(Schema):
    repo_id: str
    documents: int = Field(description="How many documents it has.")
    chunks: int = Field(description="Those that are left: chunks are memories, which may be deleted on their own.")
    last_change: datetime = Field(description="When one of its documents was last stored, in UTC.")


class RepositoryPage(Schema):
    results: list[RepositoryOut]
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")
