"""What operators do by hand: each task in their words, with its page of the console and its command."""

from dataclasses import dataclass
from datetime import timedelta

from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode

LOOK, REMOVE, DATABASE = "Look", "Remove", "Database and site"
SEE, DELETE = "memories.view_memory", "memories.delete_memory"
RECENT_DAYS = 30


@dataclass(frozen=True)
class Task:
    """A card. `page` is the name of an address in the console, with query parameters."""

    group: str
    title: str
    text: str
    icon: str
    command: str
    page: str
    permission: str = SEE
    parameters: tuple[tuple[str, str], ...] = ()
    is_destructive: bool = False

    @property
    def url(self) -> str:
        address = reverse(f"admin:{self.page}")
        parameters = [(name, get_recent_day() if value == "recent" else value) for name, value in self.parameters]
        return f"{address}?{urlencode(parameters)}" if parameters else address


def get_recent_day() -> str:
    return f"{timezone.now() - timedelta(days=RECENT_DAYS):%Y-%m-%d}"


MEMORIES, USERS = "memories_memory_changelist", "graph_usertotal_changelist"
ENTITIES = "graph_entity_changelist"
TASKS = (
    Task(
        LOOK, "Recent memories", f"What was stored in the last {RECENT_DAYS} days, newest first.", "schedule",
        "recent --days 7 --user ada", MEMORIES, parameters=(("created_from", "recent"),),
    ),
    Task(
        LOOK, "Find a text anywhere", "An exact text, or a pattern, in content, summary, data and metadata.", "search",
        "search 'ZX-9912' --literal", MEMORIES, parameters=(("mode", "literal"),),
    ),
    Task(
        LOOK, "Summaries by pattern", "Summaries that a regular expression matches.", "short_text",
        "summaries '^won '", "operations_desk_summaries",
    ),
    Task(
        LOOK, "Counts by type and by user", "How many memories of each type and of each user, with totals.", "tag",
        "counts --by user type", "operations_desk_counts",
    ),
    Task(
        LOOK, "Users", "Who has memories; each user’s graph, export and erasure.", "hub",
        "counts --by user", USERS,
    ),
    Task(
        LOOK, "Entities", "Records of other systems that memories describe.", "category",
        "entities", ENTITIES,
    ),
    Task(
        LOOK, "Entities of one system", "Each system is a tab, with its number of entities.", "lan",
        "entities --system jira", ENTITIES,
    ),
    Task(
        LOOK, "Read a tool output", "What a tool returned, newest first; its page shows the JSON as a tree.",
        "data_object", "show <id>", MEMORIES, parameters=(("memory_type", "tool_output"),),
    ),
    Task(
        REMOVE, "Delete one user’s data", "Everything of a user, counted first. It cannot be undone.", "person_remove",
        "forget --user ada", "operations_desk_erase", DELETE, is_destructive=True,
    ),
    Task(
        REMOVE, "Wipe memories", "All memories of a namespace, or of all. The trash keeps them for a while.",
        "delete_sweep", "forget --memories", "operations_desk_wipe", DELETE, (("what", "memories"),), True,
    ),
    Task(
        REMOVE, "Wipe everything", "All rows of a namespace, or of all, except API keys. It cannot be undone.",
        "delete_forever", "forget --everything --all-namespaces", "operations_desk_wipe",
        "sessions_app.delete_namespace", (("what", "everything"),), True,
    ),
    Task(
        DATABASE, "Database shell", "Read-only SQL here; all of SQL with the command.", "terminal",
        "dbshell", "operations_sqlstatement_page", "operations.run_sql",
    ),
    Task(
        DATABASE, "Namespaces", "Rename, clone, empty or delete a namespace.", "folder_special",
        "clone_namespace team-a trial", "sessions_app_namespace_changelist", "sessions_app.view_namespace",
    ),
    Task(
        DATABASE, "Scheduled tasks", "When each runs, how the last run ended, run now.", "event_repeat",
        "", "django_celery_beat_periodictask_changelist", "django_celery_beat.view_periodictask",
    ),
    Task(
        DATABASE, "Backups", "What there is, how old, and whether a restore proved it.", "backup",
        "list_backups", "operations_backup_changelist", "operations.view_backup",
    ),
)  # fmt: skip
