"""Files of exports: written by batches into the database, part by part, and streamed out of it."""

import gzip
from collections.abc import Iterable, Iterator
from datetime import datetime

from django.db.models import Max, Sum
from django.http import StreamingHttpResponse
from django.utils import timezone
from django.utils.text import slugify

from memories.jobs.models import FILE_LIFETIME, Job, JobFile

#: Of a part, before it is packed: what a download holds in memory at a time.
MAX_PART_BYTES = 2**22
#: The part in front of the others, which is written last: only then the file's counts are known.
HEAD = 0
CONTENT_TYPES = {"jsonl": "application/jsonl", "csv": "text/csv; charset=utf-8"}


def append_lines(job: Job, lines: Iterable[bytes]) -> None:
    """Add lines to the job's file, in the caller's transaction."""
    last = JobFile.objects.filter(namespace=job.namespace_id, job=job.pk).aggregate(last=Max("number"))["last"] or HEAD
    for number, part in enumerate(join_parts(lines), start=last + 1):
        write_part(job, number, part)


def join_parts(lines: Iterable[bytes]) -> Iterator[bytes]:
    waiting, size = [], 0
    for line in lines:
        waiting.append(line)
        size += len(line)
        if size >= MAX_PART_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def write_head(job: Job, line: bytes) -> None:
    """Write the first line of the file."""
    write_part(job, HEAD, line)


def write_part(job: Job, number: int, content: bytes) -> None:
    packed = gzip.compress(content, compresslevel=6, mtime=0)
    part = {"namespace_id": job.namespace_id, "job_id": job.pk, "number": number}
    JobFile.objects.create(**part, content=packed, size=len(content))


def measure_file(job: Job) -> int | None:
    """Return the size of the job's file in bytes, when unpacked; None if there is none, or no longer."""
    return JobFile.objects.filter(namespace=job.namespace_id, job=job.pk).aggregate(size=Sum("size"))["size"]


def get_file_end(job: Job) -> datetime | None:
    """Return until when the job's file can be downloaded; None without one."""
    end = job.finished_at and job.finished_at + FILE_LIFETIME
    return end if end and "file" in job.result and end > timezone.now() else None


def stream_file(job: Job) -> StreamingHttpResponse | None:
    """Return the file as a download that holds one part in memory at a time; None if there is none."""
    size = None if get_file_end(job) is None else measure_file(job)
    if size is None:
        return None
    name = job.result["file"]
    response = StreamingHttpResponse(iterate_parts(job), content_type=CONTENT_TYPES[name.rpartition(".")[2]])
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Content-Length"] = str(size)
    response["X-Content-Type-Options"] = "nosniff"
    return response


def iterate_parts(job: Job) -> Iterator[bytes]:
    rows = JobFile.objects.filter(namespace=job.namespace_id, job=job.pk)
    for number in list(rows.order_by("number").values_list("number", flat=True)):
        content = rows.filter(number=number).values_list("content", flat=True).first()
        if content is None:  # deleted meanwhile: the download is cut off, and its length says so
            return
        yield gzip.decompress(bytes(content))


def name_file(job: Job, ending: str) -> str:
    """Return a name that every system can store: "shop-memories-2026-11-30.jsonl"."""
    namespace = slugify(job.namespace.name)[:60] or "namespace"
    return f"{namespace}-memories-{job.created_at:%Y-%m-%d}.{ending}"
