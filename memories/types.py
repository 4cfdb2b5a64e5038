"""The one vocabulary of what can be remembered."""

from enum import IntEnum, StrEnum


class MemoryType(StrEnum):
    """What sort of thing a memory is; the database accepts no other."""

    AGENT = "agent"
    RAG = "rag"
    WORKFLOW = "workflow"
    INSIGHT = "insight"
    PROJECT = "project"
    CONVERSATION = "conversation"
    BUSINESS_FACT = "business_fact"
    STRATEGIC_INSIGHT = "strategic_insight"
    USER_PREFERENCE = "user_preference"
    PROCESS_KNOWLEDGE = "process_knowledge"
    MARKET_INTELLIGENCE = "market_intelligence"
    TECHNICAL_KNOWLEDGE = "technical_knowledge"
    RELATIONSHIP = "relationship"
    SEARCH_RESULT = "search_result"
    USER_SELECTION = "user_selection"
    TOOL_OUTPUT = "tool_output"
    DOMAIN_ENTITY = "domain_entity"
    COMPLETED_ACTION = "completed_action"
    CONVERSATION_FACT = "conversation_fact"
    TEMPORARY_STATE = "temporary_state"


class Importance(IntEnum):
    TRIVIAL = 1
    LOW = 2
    MEDIUM = 3
    HIGH = 4
    CRITICAL = 5
