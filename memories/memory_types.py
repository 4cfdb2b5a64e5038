"""The types and the importance levels of memories."""

from enum import IntEnum, StrEnum

#: The half-life of knowledge, which is as true tomorrow as it is today.
NO_DECAY = float("inf")


class MemoryType(StrEnum):
    """The types of memories; a constraint of the database accepts no other.

    Each has a half-life: the hours until its relevance is halved.
    """

    half_life_hours: float

    def __new__(cls, value: str, half_life_hours: float | None = None) -> "MemoryType":
        if half_life_hours is None:  # optional only for type checkers, to which MemoryType("agent") calls this
            raise TypeError(f"The memory type {value} has no half-life.")
        member = str.__new__(cls, value)
        member._value_ = value
        member.half_life_hours = half_life_hours
        return member

    AGENT = "agent", 12  # half a day: not declared to be knowledge
    RAG = "rag", NO_DECAY
    WORKFLOW = "workflow", 12
    INSIGHT = "insight", NO_DECAY
    PROJECT = "project", NO_DECAY
    CONVERSATION = "conversation", 12
    BUSINESS_FACT = "business_fact", NO_DECAY
    STRATEGIC_INSIGHT = "strategic_insight", NO_DECAY
    USER_PREFERENCE = "user_preference", NO_DECAY
    PROCESS_KNOWLEDGE = "process_knowledge", NO_DECAY
    MARKET_INTELLIGENCE = "market_intelligence", NO_DECAY
    TECHNICAL_KNOWLEDGE = "technical_knowledge", NO_DECAY
    RELATIONSHIP = "relationship", NO_DECAY
    SEARCH_RESULT = "search_result", 6  # serves the search at hand: half a working day
    USER_SELECTION = "user_selection", 36  # a choice holds a little longer than the conversation about it
    TOOL_OUTPUT = "tool_output", 8  # true at the moment the tool ran: a working day
    DOMAIN_ENTITY = "domain_entity", 48  # a record of another system changes within days
    COMPLETED_ACTION = "completed_action", 24  # yesterday's actions are still referred to
    CONVERSATION_FACT = "conversation_fact", 24  # yesterday's conversations are still referred to
    TEMPORARY_STATE = "temporary_state", 3  # what is going on now has changed by the next meeting


class Importance(IntEnum):
    TRIVIAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5
