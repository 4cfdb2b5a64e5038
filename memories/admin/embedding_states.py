"""How the console names the state of a memory's embedding."""

from memories.models import Memory
from memories.search.selection import EMBEDDED, REFUSED, WAITING

EMBEDDING_STATE_COLOURS = {EMBEDDED: "success", WAITING: "warning", REFUSED: "danger"}
EMBEDDING_STATE_LABELS = {EMBEDDED: "yes", WAITING: "not yet", REFUSED: "refused"}


def get_embedding_state(memory: Memory) -> str:
    due = getattr(memory, "due", None)
    if due is None:
        return EMBEDDED
    return REFUSED if due.error else WAITING
