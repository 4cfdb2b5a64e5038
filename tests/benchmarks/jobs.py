"""`make jobs`: what clients notice while a job deletes many memories, and how fast each action is.

A server with memories starts first; this process is the worker. Four clients search and store with pauses, in a process
of their own, in turn without and with a job that deletes. Then one job of each action runs alone, and its undo.
Only the ratios between the rows of one run mean something; the longest request is an absolute promise: under a second.
"""

import argparse
import os
import tempfile
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.backups import Answers, build_texts, find_quantile, send

LOAD_COLUMNS = ("requests", "n", "p50 ms", "p95 ms", "p95 of without", "longest ms", "failed", "memories/s")
RATE_COLUMNS = ("action", "memories", "seconds", "memories/s", "undo memories/s")
ACTIONS = (
    ("tag", {"tags": ["measured"]}),
    ("untag", {"tags": ["measured"]}),
    ("set_importance", {"importance": 5}),
    ("expire", {"expires_at": "2199-01-01T00:00:00Z"}),
    ("set_type", {"memory_type": "project"}),
    ("set_user", {"user_id": "measured"}),
    ("export", {}),
    ("delete", {}),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="memories to load (default: %(default)s)")
    parser.add_argument("--deleted", type=int, default=100_000, help="of them, by jobs (default: %(default)s)")
    parser.add_argument("--each", type=int, default=5_000, help="memories of each action (default: %(default)s)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="memory-site-jobs-") as directory:
        os.environ |= {"DATA_DIR": str(Path(directory) / "data"), "DJANGO_SETTINGS_MODULE": "memory_site.settings"}
        os.environ |= {"EMBEDDER": "hashing", "LOG_LEVEL": "ERROR"}
        run(arguments)


def run(arguments: argparse.Namespace) -> None:
    from tests.benchmarks.overload import load_namespaces  # noqa: PLC0415  (reads the settings)
    from tests.benchmarks.run import run_server  # noqa: PLC0415

    console = Console(width=140)
    with run_server() as (url, _), ProcessPoolExecutor(1, get_context("spawn")) as processes:
        key, _ = load_namespaces(arguments.rows)
        console.print(measure_load(url, key, arguments.deleted, processes))
        console.print(measure_actions(arguments.each))


def measure_load(url: str, key: str, deleted: int, processes: ProcessPoolExecutor) -> Table:
    """Requests without a job, and while one deletes."""
    texts = build_texts()
    with get_context("spawn").Manager() as manager:

        def measure(work) -> Answers:
            ended = manager.Event()
            future = processes.submit(send, url, key, texts, ended)
            time.sleep(2)  # the clients have started
            work()
            ended.set()
            return future.result()

        measured, rates = {}, {}
        measured["without"] = measure(lambda: time.sleep(20))
        started = time.perf_counter()
        name = f"while a job deletes {deleted:,}"
        measured[name] = measure(lambda: run_job_of("delete", {}, deleted))
        rates[name] = deleted / (time.perf_counter() - started)
        measured["without, again"] = measure(lambda: time.sleep(20))
    return build_load_table(measured, rates)


def build_load_table(measured: dict[str, Answers], rates: dict[str, float]) -> Table:
    table = Table(*LOAD_COLUMNS, title="3 clients search, 1 stores")
    alone = find_quantile(sorted(measured["without"].seconds), 0.95)
    for name, answers in measured.items():
        seconds = sorted(answers.seconds)
        failed = sum(count for status, count in Counter(answers.statuses).items() if status not in ("200", "201"))
        median, high = (find_quantile(seconds, share) for share in (0.5, 0.95))
        figures = (f"{1000 * median:.0f}", f"{1000 * high:.0f}", f"{high / alone:.2f}", f"{1000 * seconds[-1]:.0f}")
        table.add_row(name, str(len(seconds)), *figures, str(failed), f"{rates[name]:,.0f}" if name in rates else "")
    return table


def run_job_of(action: str, parameters: dict, memories: int):
    """Run a job over the oldest memories of the loaded namespace in this process, as a worker does. Return it."""
    from memories.jobs.create import create_job  # noqa: PLC0415  (needs the settings)
    from memories.jobs.models import Job  # noqa: PLC0415
    from memories.jobs.run import run_to_end  # noqa: PLC0415
    from memories.models import Memory  # noqa: PLC0415
    from memories.search.selection import Selection  # noqa: PLC0415
    from sessions_app.models import Namespace  # noqa: PLC0415

    namespace = Namespace.objects.get(name="crowd")
    job = create_job(namespace.pk, action, parameters, Selection(namespace.pk), "benchmark")
    last = Memory.objects.filter(namespace=namespace).order_by("pk").values_list("pk", flat=True)[memories - 1]
    Job.objects.filter(pk=job.pk).update(last_id=last, matched=memories)
    return run_to_end(job)


def measure_actions(memories: int) -> Table:
    from memories.jobs.run import run_to_end  # noqa: PLC0415  (needs the settings)
    from memories.jobs.undo import can_undo, create_undo  # noqa: PLC0415

    table = Table(*RATE_COLUMNS, title="One job at a time, in the time of its batches and rests")
    for action, parameters in ACTIONS:
        job = run_job_of(action, parameters, memories)
        undo = f"{run_to_end(create_undo(job, 'benchmark')).rate or 0:,.0f}" if can_undo(job) else ""
        table.add_row(action, f"{job.done:,}", f"{job.duration_seconds:.1f}", f"{job.rate:,.0f}", undo)
    return table


if __name__ == "__main__":
    main()
