"""How relevant a memory is now, as the server computes it.

relevance = base × 0.5^(age / half-life) + 0.3 × 0.5^(hours since the last access / 2), limited to 0.05 to 1. Age is
measured from the last change of its entity, or from its creation. An access counts for 24 hours.
"""

import math

MIN_RELEVANCE, MAX_RELEVANCE = 0.05, 1.0
ACCESS_BOOST, ACCESS_BOOST_HALF_LIFE_HOURS, ACCESS_BOOST_HOURS = 0.3, 2, 24
#: Hours until the relevance of a type is halved; the types of knowledge have none. The server's own, by its name.
HALF_LIFE_HOURS: dict[str, float] = {
    "agent": 12,
    "rag": math.inf,
    "workflow": 12,
    "insight": math.inf,
    "project": math.inf,
    "conversation": 12,
    "business_fact": math.inf,
    "strategic_insight": math.inf,
    "user_preference": math.inf,
    "process_knowledge": math.inf,
    "market_intelligence": math.inf,
    "technical_knowledge": math.inf,
    "relationship": math.inf,
    "search_result": 6,
    "user_selection": 36,
    "tool_output": 8,
    "domain_entity": 48,
    "completed_action": 24,
    "conversation_fact": 24,
    "temporary_state": 3,
}
#: Of types that a newer server may have.
DEFAULT_HALF_LIFE_HOURS = 12
HOUR = 3600.0


def compute_relevance(
    context_type: str, base: float, changed_at: float, accessed_at: float | None, now: float
) -> float:
    """Return the relevance, from 0.05 to 1. Times are seconds since 1970."""
    half_life = HALF_LIFE_HOURS.get(context_type, DEFAULT_HALF_LIFE_HOURS)
    relevance = base * 0.5 ** (max(now - changed_at, 0.0) / HOUR / half_life)
    if accessed_at is not None and now - accessed_at < ACCESS_BOOST_HOURS * HOUR:
        relevance += ACCESS_BOOST * 0.5 ** (max(now - accessed_at, 0.0) / HOUR / ACCESS_BOOST_HALF_LIFE_HOURS)
    return min(max(relevance, MIN_RELEVANCE), MAX_RELEVANCE)
