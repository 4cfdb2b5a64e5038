"""Whether a job can be taken back, and the job that does it."""

from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from memories.history.models import MemoryVersion
from memories.jobs import tasks
from memories.jobs.actions import ACTIONS
from memories.jobs.actions.undo import Undo
from memories.jobs.models import ENDED_STATES, Job, JobState
from memory_site.core.errors import Conflict

STILL_OPEN = "The job has not ended yet."
IS_UNDONE = "The job has been taken back already."
CHANGED_NOTHING = "The job has changed nothing."
NOT_UNDOABLE = "What this job did cannot be taken back."
TOO_OLD = "The history no longer holds what was there before."
ALREADY_ASKED = "Another job is taking it back."


def find_undo_end(job: Job) -> datetime | None:
    """Return until when the history holds what was there before: deleted memories as long as the trash does."""
    action = ACTIONS.get(job.action)
    days = settings.TRASH_DAYS if action and action.is_destructive else settings.HISTORY_RETENTION_DAYS
    return job.finished_at and job.finished_at + timedelta(days=days)


def explain_no_undo(job: Job) -> str:
    """Return why the job cannot be taken back; "" if it can."""
    action, end = ACTIONS.get(job.action), find_undo_end(job)
    if job.is_open or end is None:
        return STILL_OPEN
    if job.state == JobState.UNDONE:
        return IS_UNDONE
    if action is None or not action.can_undo or job.state not in ENDED_STATES:
        return NOT_UNDOABLE
    if not job.done:
        return CHANGED_NOTHING
    return TOO_OLD if end < timezone.now() else ""


def can_undo(job: Job) -> bool:
    return not explain_no_undo(job)


def create_undo(job: Job, by: str) -> Job:
    """Create the job that takes this one back. Raises Conflict, with the reason, if that is not possible."""
    if reason := explain_no_undo(job):
        raise Conflict(reason)
    versions = MemoryVersion.objects.filter(namespace=job.namespace_id, job_id=job.pk)
    fields: dict[str, Any] = {"action": Undo.name, "undo_of": job.pk, "created_by": by}
    matched = versions.values("memory_id").distinct().count()
    try:
        with transaction.atomic():
            undo = Job.objects.create(namespace_id=job.namespace_id, matched=matched, **fields)
    except IntegrityError:
        raise Conflict(ALREADY_ASKED) from None
    undo.refresh_from_db()
    tasks.job_trigger.notify_on_commit()
    return undo
