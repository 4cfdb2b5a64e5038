"""Take back what a job changed: another job, which restores the versions that the history kept of it."""

from memories.jobs.models import Job
from memory_site.core.errors import Conflict


def can_undo(job: Job) -> bool:
    return False


def create_undo(job: Job, by: str) -> Job:
    raise Conflict("This job cannot be undone.")


def explain_no_undo(job: Job) -> str:
    return ""
