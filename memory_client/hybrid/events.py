"""The log of this package: an event's name as the message, its values as attributes of the record, never content."""

import logging
from typing import Any

logger = logging.getLogger("memory_client.hybrid")

LOADING = "loading_user_memories_from_postgres"
LOADED = "user_memories_loaded"
LOAD_FAILED = "failed_to_load_user_memories"
PERSISTED = "node_persisted_to_postgres"
RELATIONSHIP_PERSISTED = "relationship_persisted_to_postgres"
NOT_PERSISTED = "failed_to_persist_to_postgres"
CONFLICT = "node_changed_on_both_sides"
MERGED = "user_entity_updated"
UNKNOWN_TYPE = "invalid_relationship_type"
UNKNOWN_NODE = "relationship_to_unknown_node"
THREADS_REMOVED = "stale_threads_removed"
USERS_EVICTED = "cached_users_evicted"
BLOCKED = "sending_blocked"
RESUMED = "sending_resumed"
SENDER_FAILED = "sender_failed"


def log_event(level: int, event: str, **values: Any) -> None:
    logger.log(level, event, extra=values)
