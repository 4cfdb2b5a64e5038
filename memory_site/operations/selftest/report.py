"""What a self-test found: one row for each thing that was tried."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Finding:
    """The result of one trial. Every figure but `done` and `seconds` should be 0."""

    trial: str
    #: How many writes, requests or files were tried.
    done: int = 0
    #: Acknowledged and gone.
    lost: int = 0
    #: Stored more than once.
    dup: int = 0
    #: Vectors that are missing, or of an older text.
    stale: int = 0
    #: Seen or changed with another key.
    leak: int = 0
    #: Anything else that is not as it must be.
    wrong: int = 0
    #: Until everything worked again, or what the trial took.
    seconds: float = 0.0
    note: str = ""

    @property
    def passed(self) -> bool:
        return not (self.lost or self.dup or self.stale or self.leak or self.wrong)

    def as_row(self) -> dict[str, Any]:
        """Return it with the figures in capitals, as they are called in the documentation."""
        row = asdict(self) | {"seconds": round(self.seconds, 1)}
        return {name.upper() if name in FIGURES else name: value for name, value in row.items()}


FIGURES = ("lost", "dup", "stale", "leak", "wrong")
