"""What a health check returns."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import IntEnum
from typing import Any

#: Rows that a check looks at, or names, at most.
MAX_SAMPLED_ROWS = 20


class HealthStatus(IntEnum):
    HEALTHY = 0
    DEGRADED = 1
    UNHEALTHY = 2


@dataclass
class Component:
    """The result of one check: status, message, what fixes it, and the time the check took."""

    name: str
    status: HealthStatus
    message: str
    mend: str = ""
    latency_ms: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self) | {"status": self.status.name.lower()}


#: Status and message, and advice in place of the check's usual command: also a healthy component can do better.
CheckResult = tuple[HealthStatus, str] | tuple[HealthStatus, str, str]


def worst_status(components: Iterable[Component]) -> HealthStatus:
    return max((component.status for component in components), default=HealthStatus.HEALTHY)
