"""The states of a memory, and the one condition that every read starts from."""

from collections.abc import Collection

from django.db.models import Q, TextChoices
from django.db.models.functions import Now


class State(TextChoices):
    """Only active memories are found. The others keep their row, their relationships and their history, and lose their
    vectors; a superseded one is replaced by another memory."""

    ACTIVE = "active"
    SUPERSEDED = "superseded"
    PENDING = "pending"
    QUARANTINED = "quarantined"


EVERY_STATE = tuple(State.values)
HIDDEN_STATES = tuple(state for state in EVERY_STATE if state != State.ACTIVE)
# "not one of the others" and not "active": without statistics the planner expects a comparison for equality to keep
# one row in two hundred, and this one to keep all.
FOUND_SQL = "{memory}.state NOT IN (" + ", ".join(f"'{state}'" for state in HIDDEN_STATES) + ")"

# Storing a superseded memory again makes it active: it was said once more, later than what replaced it. What is held
# back stays so.
REACTIVATE_SQL = "state = CASE WHEN {row}.state = 'superseded' THEN 'active' ELSE {row}.state END, superseded_by = NULL"


def not_expired(memory: str = "") -> Q:
    """Return the condition on a memory, or on the one at a path such as `memory__`."""
    return Q((f"{memory}expires_at", None)) | Q((f"{memory}expires_at__gt", Now()))


def has_state(states: Collection[str] | None = None, memory: str = "") -> Q:
    """Return the condition that it is in one of the states; None: in one that searches find."""
    if states is None:
        return ~Q((f"{memory}state__in", HIDDEN_STATES))
    return Q((f"{memory}state__in", sorted(map(str, states))))


def is_alive(memory: str = "", states: Collection[str] | None = None) -> Q:
    """Return the condition of every read: not expired, and active unless states are given."""
    return not_expired(memory) & has_state(states, memory)


def is_expired(memory: str = "") -> Q:
    return Q((f"{memory}expires_at__lte", Now()))


def is_active(memory: str = "") -> Q:
    """Return the condition whose opposite the partial indexes of hidden memories have."""
    return Q((f"{memory}state", State.ACTIVE))


def not_expired_sql(memory: str) -> str:
    return f"({memory}.expires_at IS NULL OR {memory}.expires_at > statement_timestamp())"


def alive_sql(memory: str) -> str:
    """Return `is_alive` for SQL in which the memory has this alias."""
    return f"({FOUND_SQL.format(memory=memory)} AND {not_expired_sql(memory)})"
