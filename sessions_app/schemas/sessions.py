"""Request and response schemas of sessions."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from ninja import Schema
from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag
from pydantic.config import JsonDict

from memory_site.core.http.fields import Content, InputSchema, Label, Timestamp
from memory_site.core.http.path_labels import check_path_label, refuse_endings
from sessions_app.models.sessions import MAX_TTL_HOURS

#: Clocks differ. A time further ahead would sort before everything that is added until then.
MAX_CLOCK_SKEW = timedelta(hours=1)
#: Paths below /sessions that are no sessions.
RESERVED_SESSION_IDS = frozenset({"analytics", "cleanup"})
refuse_session_endings = refuse_endings("context", "interactions")
INTERACTION_EXAMPLE: JsonDict = {
    "query": "When does the harbour open?",
    "answer": "At nine.",
    "timestamp": "2026-01-01T09:00:00Z",
}


def check_session_id(session_id: str) -> str:
    """Return the id. Raises ValueError if no URL can contain it, or if it is the path of an operation."""
    if session_id in RESERVED_SESSION_IDS:
        raise ValueError("cannot be used in an address: an operation")
    return refuse_session_endings(check_path_label(session_id))


def check_clock_skew(moment: datetime) -> datetime:
    if moment > datetime.now(UTC) + MAX_CLOCK_SKEW:
        raise ValueError("may lie at most an hour in the future")
    return moment


TimeToLive = Annotated[float, Field(gt=0, le=MAX_TTL_HOURS, description="Hours; may be a fraction.")]
SessionId = Annotated[Label, AfterValidator(check_session_id)]
#: A moment that a client recorded: its clock may be a little ahead of the server's.
RecordedTimestamp = Annotated[Timestamp, AfterValidator(check_clock_skew)]


class InteractionIn(InputSchema):
    """One turn of a session: a query and its answer."""

    model_config = ConfigDict(json_schema_extra={"example": INTERACTION_EXAMPLE})

    query: Content = Field(description="What was asked.")
    answer: Content = Field(description="What was answered.")
    timestamp: RecordedTimestamp | None = Field(
        default=None, description="Time of the interaction; by default the server's time of arrival."
    )

    def to_interaction(self) -> dict[str, Any]:
        """Return the dict that `history.add` takes; its timestamp is ISO 8601 text with microseconds, or None."""
        timestamp = self.timestamp and self.timestamp.isoformat(timespec="microseconds")
        return {"query": self.query, "answer": self.answer, "timestamp": timestamp}


class AdditionIn(InputSchema):
    """Fields of an addition that concern the whole session."""

    ttl_hours: TimeToLive | None = Field(
        default=None,
        description="The session's own time to live from now on, as PATCH sets it; needed to import old interactions.",
    )


class OneIn(InteractionIn, AdditionIn):
    """One interaction, optionally with the session's time to live."""

    fields_of_other_forms = ("interactions",)


class InteractionsIn(AdditionIn):
    """Several interactions at once, in their order."""

    interactions: list[InteractionIn] = Field(
        min_length=1, max_length=1000, description="1 to 1,000 interactions, in their order."
    )


def get_addition_tag(body: Any) -> str:
    return "[many]" if isinstance(body, dict) and "interactions" in body else "[one]"


# Tags in brackets are left out of the error locations in responses.
Addition = Annotated[
    Annotated[OneIn, Tag("[one]")] | Annotated[InteractionsIn, Tag("[many]")], Discriminator(get_addition_tag)
]


class SessionPatch(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"ttl_hours": 72}})

    ttl_hours: TimeToLive | None = Field(
        description="Hours until an interaction expires; null for the server's default."
    )


class CleanupIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"max_age_hours": 48}})

    max_age_hours: TimeToLive | None = Field(
        default=None, description="Delete sessions not added to for this long; by default for their own time to live."
    )


class HistoryOut(Schema):
    session_id: str
    history_length: int = Field(description="Number of interactions in the session after the addition.")
    expired: int = Field(
        description="Number of given interactions that are older than the session's time to live. They were not kept."
    )


class InteractionOut(Schema):
    query: str = Field(description="What was asked.")
    answer: str = Field(description="What was answered.")
    timestamp: datetime = Field(description="When it took place, in UTC.")


class ContextOut(Schema):
    session_id: str
    interactions: list[InteractionOut] = Field(description="Newest first.")


class SessionOut(Schema):
    session_id: str
    exists: bool = Field(description="Whether the session has interactions that have not expired.")
    history_length: int
    last_updated: datetime | None = Field(
        description="When an interaction was last added, in UTC; null if the session does not exist."
    )
    ttl_hours: float | None = Field(description="The session's own time to live; null for the server's default.")


class SessionPage(Schema):
    results: list[SessionOut]
    next: str | None = Field(description="The `cursor` of the next page.")
    previous: str | None = Field(description="The `cursor` of the previous page.")


class ClearedOut(Schema):
    cleared: bool = Field(description="Whether the session existed.")


class CleanupOut(Schema):
    deleted: int = Field(description="How many sessions were deleted.")


class BusySessionOut(Schema):
    session_id: str
    history_length: int
    last_updated: datetime = Field(description="When an interaction was last added, in UTC.")


class DayOut(Schema):
    day: date = Field(description="The day, in UTC.")
    interactions: int = Field(description="How many interactions it has.")


class AnalyticsOut(Schema):
    total_sessions: int = Field(description="How many sessions there are.")
    total_interactions: int = Field(description="How many interactions they hold.")
    active_last_hour: int = Field(description="How many sessions changed within the last hour.")
    average_length: float = Field(description="How many interactions a session holds on average, to two decimals.")
    busiest: list[BusySessionOut] = Field(description="The ten sessions with the longest histories.")
    interactions_per_day: list[DayOut] = Field(description="The last 30 days with interactions, oldest first, in UTC.")
