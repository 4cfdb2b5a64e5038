"""What sessions look like on the wire."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag

from memory_site.core.http.fields import Content, InputSchema, Label, Timestamp
from sessions_app.models.sessions import MAX_TTL_HOURS

#: Clocks differ; what lies further ahead would stand before everything that is said meanwhile.
MAX_CLOCK_SKEW = timedelta(hours=1)
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# A session's id is part of the address, and these are addresses of their own.
# So do a dot and two, which clients resolve before they ask.
RESERVED_SESSION_IDS = re.compile(
    r"analytics|cleanup|\.\.?|.*/(context|interactions|\.\.?)|\.\.?/.*|.*/\.\.?/.*", re.DOTALL
)
INTERACTION_EXAMPLE = {
    "query": "When does the harbour open?",
    "answer": "At nine.",
    "timestamp": "2026-01-01T09:00:00Z",
}


def check_session_id(session_id: str) -> str:
    """The id, or ValueError when no request could name it."""
    if CONTROL_CHARACTERS.search(session_id):
        raise ValueError("may not contain control characters")
    if RESERVED_SESSION_IDS.fullmatch(session_id):
        raise ValueError("cannot be used in an address: an operation, or a relative path")
    if session_id.startswith("/") or session_id.endswith("/"):
        raise ValueError("may not begin or end with a slash")
    return session_id


def check_clock_skew(moment: datetime) -> datetime:
    if moment > datetime.now(UTC) + MAX_CLOCK_SKEW:
        raise ValueError("may lie at most an hour in the future")
    return moment


TimeToLive = Annotated[float, Field(gt=0, le=MAX_TTL_HOURS, description="Hours; may be a fraction.")]
SessionId = Annotated[Label, AfterValidator(check_session_id)]


class InteractionIn(InputSchema):
    """One turn of a session: what was asked and what was answered."""

    model_config = ConfigDict(json_schema_extra={"example": INTERACTION_EXAMPLE})

    query: Content
    answer: Content
    timestamp: Annotated[Timestamp, AfterValidator(check_clock_skew)] | None = Field(
        None, description="When it was; the server's time of arrival by default."
    )

    def to_interaction(self) -> dict[str, Any]:
        """As history.add takes it."""
        when = self.timestamp and self.timestamp.isoformat(timespec="microseconds")
        return {"query": self.query, "answer": self.answer, "timestamp": when}


class AdditionIn(InputSchema):
    """What an addition may say of its session."""

    ttl_hours: TimeToLive | None = Field(
        None,
        description="The session's own time to live from now on, as PATCH sets it; needed to bring in what is old.",
    )


class OneIn(InteractionIn, AdditionIn):
    """One turn, and perhaps the session's time to live."""


class InteractionsIn(AdditionIn):
    """Several turns at once, in their order."""

    interactions: list[InteractionIn] = Field(min_length=1, max_length=1000)


def get_addition_tag(body: Any) -> str:
    return "[many]" if isinstance(body, dict) and "interactions" in body else "[one]"


# The brackets keep these two names out of the errors that callers see.
Addition = Annotated[
    Annotated[OneIn, Tag("[one]")] | Annotated[InteractionsIn, Tag("[many]")], Discriminator(get_addition_tag)
]


class SessionPatch(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"ttl_hours": 72}})

    ttl_hours: TimeToLive | None = Field(description="Hours an interaction stays; null for the server's default.")


class CleanupIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"max_age_hours": 48}})

    max_age_hours: TimeToLive | None = Field(
        None, description="Sessions not added to for so long go; by default each goes by its own time to live."
    )


class HistoryOut(Schema):
    session_id: str
    history_length: int = Field(description="Interactions the session holds now.")


class InteractionOut(Schema):
    query: str
    answer: str
    timestamp: datetime


class ContextOut(Schema):
    session_id: str
    interactions: list[InteractionOut] = Field(description="Newest first.")


class SessionOut(Schema):
    session_id: str
    exists: bool
    history_length: int
    last_updated: datetime | None
    ttl_hours: float | None = Field(description="Its own time to live; null for the server's default.")


class SessionPage(Schema):
    results: list[SessionOut]
    next: str | None = Field(description="The `cursor` of the following page.")
    previous: str | None = Field(description="The `cursor` of the page before.")


class ClearedOut(Schema):
    cleared: bool = Field(description="Whether there was such a session.")


class CleanupOut(Schema):
    deleted: int


class BusySessionOut(Schema):
    session_id: str
    history_length: int
    last_updated: datetime


class DayOut(Schema):
    day: date
    interactions: int


class AnalyticsOut(Schema):
    total_sessions: int
    total_interactions: int
    active_last_hour: int
    average_length: float
    busiest: list[BusySessionOut] = Field(description="The ten with the longest histories.")
    interactions_per_day: list[DayOut] = Field(description="Of the last 30 days that have any, oldest first, in UTC.")
