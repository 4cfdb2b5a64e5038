"""How the console names the state of a memory's embedding."""

from memories.models import Memory
from memories.search.selection import EMBEDDED, REFUSED, WAITING
from memories.states import State

#: Of a memory that is not active: it has no vector, and does not wait for one.
HIDDEN = "hidden"
EMBEDDING_STATE_COLOURS = {EMBEDDED: "success", WAITING: "warning", REFUSED: "danger", HIDDEN: "default"}
EMBEDDING_STATE_LABELS = {EMBEDDED: "yes", WAITING: "not yet", REFUSED: "refused", HIDDEN: "none"}


def get_embedding_state(memory: Memory) -> str:
    if memory.state != State.ACTIVE:
        return HIDDEN
    due = getattr(memory, "due", None)
    if due is None:
        return EMBEDDED
    return REFUSED if due.error else WAITING
