"""What stands in the way of a memory, in words: of which columns the database refuses a second one.

A partition's index has a name of its own, and messages are translated; the columns are the same everywhere.
"""

import re

from django.db import IntegrityError
from psycopg.errors import UniqueViolation

SAME_ID = "A memory with its id is there already."
SAME_KEY = "Another memory of this user has the same key."
SAME_CONTENT = "Another memory has the same content, type and user."
SAME_ENTITY = "Another memory describes the same entity of this user."
REASONS = {
    "namespace_id, id": SAME_ID,
    "namespace_id, owner, id": SAME_ID,
    "namespace_id, user_id, key": SAME_KEY,
    "namespace_id, user_id, entity_system, entity_id": SAME_ENTITY,
}


def explain_duplicate(error: IntegrityError) -> str | None:
    """Return why the row of a memory would be a second one; None for another reason, or another table."""
    cause = error.__cause__
    if not isinstance(cause, UniqueViolation) or not (cause.diag.table_name or "").startswith("memories_memory"):
        return None
    columns = re.search(r"\((.*?)\)=\(", cause.diag.message_detail or "")
    return REASONS.get(columns[1] if columns else "", SAME_CONTENT)
