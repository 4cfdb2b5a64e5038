"""`manage.py jobs`: list the jobs of a namespace, show one, cancel it or take it back."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from memories.jobs.describe import describe_job
from memories.jobs.models import Job, find_job
from memories.jobs.run import cancel
from memories.jobs.schemas import to_job_out
from memories.jobs.tasks import job_trigger
from memories.jobs.undo import create_undo
from memory_site.core.db.actor import get_actor
from memory_site.core.errors import DomainError
from sessions_app.commands import EXIT_FAILED, EXIT_USAGE_ERROR, ListingCommand, get_namespace

HAS_ENDED = "The job has ended."


class Command(ListingCommand):
    help = "List jobs, newest first; show one with what it had to leave, cancel it, or take back what it changed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("action", nargs="?", choices=["list", "show", "cancel", "undo"], default="list")
        parser.add_argument("id", nargs="?", help="of the job")
        parser.add_argument("--limit", type=int, default=20, help="default: %(default)s")

    def handle(self, *, action: str, id: str | None, namespace: str, limit: int, format: str, **_: Any) -> None:
        namespace_id = get_namespace(namespace).pk
        if action == "list":
            rows = Job.objects.in_namespace(namespace_id).order_by("-created_at", "-pk")[: max(limit, 0)]
            self.print_rows(map(to_row, rows), format)
            return
        job = get_job(namespace_id, id)
        if action == "cancel" and not cancel(job):
            raise CommandError(HAS_ENDED, returncode=EXIT_FAILED)
        if action == "undo":
            job = undo(job)
        job.refresh_from_db()
        self.show(job, format)

    def show(self, job: Job, output_format: str) -> None:
        if output_format != "table":
            self.print_rows([to_job_out(job)], output_format)
            return
        self.print_rows([to_row(job)], output_format)
        if job.message:
            self.stdout.write(job.message)
        if job.log:
            self.print_rows(job.log, output_format)


def to_row(job: Job) -> dict[str, Any]:
    return {
        "id": job.pk,
        "job": describe_job(job),
        "state": job.state,
        "matched": job.matched,
        "done": job.done,
        "left": job.failed,
        "by": job.created_by,
        "created": f"{job.created_at:%Y-%m-%d %H:%M:%S}",
    }


def get_job(namespace_id: int, text: str | None) -> Job:
    """Return the job. Raises CommandError."""
    if text is None:
        raise CommandError("Which job? Its id is missing.", returncode=EXIT_USAGE_ERROR)
    try:
        job = find_job(namespace_id, UUID(text))
    except ValueError:
        raise CommandError(f"{text!r} is not the id of a job.", returncode=EXIT_USAGE_ERROR) from None
    if job is None:
        raise CommandError("There is no such job in this namespace.", returncode=EXIT_FAILED)
    return job


def undo(job: Job) -> Job:
    """Create the job that takes it back, and wake a worker: this process is about to end."""
    try:
        created = create_undo(job, get_actor().name or "command:jobs")
    except DomainError as error:
        raise CommandError(str(error), returncode=EXIT_FAILED) from None
    job_trigger.notify_now()
    return created
