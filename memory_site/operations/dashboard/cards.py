"""The list of all cards, in the order of the page."""

from memory_site.operations.dashboard.content import Card
from memory_site.operations.dashboard.jobs import build_jobs
from memory_site.operations.dashboard.memories import build_growth, build_sources, build_types, build_users
from memory_site.operations.dashboard.site import build_backups, build_disks, build_health, build_schedules
from memory_site.operations.dashboard.work import (
    build_changes,
    build_conversations,
    build_ingestions,
    build_queue,
    build_sessions,
    build_workflows,
)

MEMORIES, SITE = "memories.view_memory", "operations.view_heartbeat"

CARDS = (
    Card("growth", "Memories over time", MEMORIES, build_growth, has_period=True, width=2),
    Card("types", "Memories by type", MEMORIES, build_types),
    Card("changes", "The last hour", f"{MEMORIES} history.view_memoryversion", build_changes),
    Card("queue", "Embedding queue", MEMORIES, build_queue),
    Card("jobs", "Jobs", "jobs.view_job", build_jobs),
    Card("health", "Health", SITE, build_health, is_namespaced=False, is_kept=False),
    Card("users", "Memories by user", MEMORIES, build_users),
    Card("sources", "Memories by source", MEMORIES, build_sources),
    Card("sessions", "Sessions", "sessions_app.view_sessionmemory", build_sessions),
    Card("conversations", "Conversations", "sessions_app.view_conversation", build_conversations),
    Card("ingestions", "Ingestions", "ingestion.view_ingestion", build_ingestions),
    Card("workflows", "Workflow runs", "ingestion.view_workflowexecution", build_workflows),
    Card("schedules", "Scheduled tasks", "django_celery_beat.view_periodictask", build_schedules, is_namespaced=False),
    Card("backups", "Backups", "operations.view_backup", build_backups, is_namespaced=False),
    Card("disks", "Disks", SITE, build_disks, is_namespaced=False),
)
