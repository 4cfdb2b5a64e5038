"""Background task of the history. Safe to run twice, in parallel, or late."""

from celery import shared_task

from memories.history import retention
from sessions_app.namespaces import find_namespaces, for_each_namespace


@shared_task
def delete_old_history() -> int:
    """Delete versions and parts of deleted memories whose time is over. Return how many rows."""
    rows = (retention.select_old_versions(), retention.select_expired(), retention.select_old_parts())
    namespaces = dict.fromkeys(namespace for each in rows for namespace in find_namespaces(each))
    return for_each_namespace(retention.delete_old_history, namespaces)
