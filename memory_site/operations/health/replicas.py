"""The health check of the replicas. Without any of them the site is slower, not ill."""

import math

from memory_site.core.db.replicas import ReplicaState, replicas
from memory_site.operations.health.results import CheckResult, HealthStatus

#: Seconds that a command waits for the first answers: it has just begun to ask.
FIRST_ANSWER_SECONDS = 2.0


def check_replicas() -> CheckResult:
    """Check which replicas are read: those that answer, are standbys of the primary and are fresh enough.

    One of the addresses may be that of the primary, as long as another one is read.
    """
    states = replicas.wait_for_states(FIRST_ANSWER_SECONDS)
    healthy = any(not state.reason for state in states) and not any(state.is_faulty for state in states)
    return (HealthStatus.HEALTHY if healthy else HealthStatus.DEGRADED), " ".join(map(describe_replica, states))


def describe_replica(state: ReplicaState) -> str:
    behind = f"{state.lag:.1f} s behind at most" if math.isfinite(state.lag) else ""
    left_out = f"not read, because it {state.reason}" if state.reason else ""
    return f"{state.replica.alias}: {', '.join(filter(None, (behind, left_out)))}."
