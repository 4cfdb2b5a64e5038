"""The comparison: rows, a database and a process for each peer, and figures that all give in turns."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from django.conf import settings
from django.db import connection
from rich.console import Console
from rich.progress import track

from memory_site.embedded.running_site import ensure_services_for_command
from sessions_app.models import ApiKey, Namespace
from tests.benchmarks.data import Synthetic
from tests.benchmarks.peers.report import build_search_table, build_write_table
from tests.benchmarks.peers.rows import SHARES, Rows, Wanted, save
from tests.benchmarks.processes import AnsweringProcess, ProcessEnded
from tests.benchmarks.run import run_server

BATCH, TURN_SEARCHES = 250, 10
console, errors = Console(width=170), Console(stderr=True)
EXTENSION_PATHS = {"extension_control_path": "$system:{}/share", "dynamic_library_path": "$libdir:{}/lib"}
#: Filters by name: the field that is filtered and its value.
FILTERS: dict[str, dict[str, str | None]] = {"none": {"user": None, "topic": None}}
FILTERS |= {f"user {share:.1%}": {"user": name, "topic": None} for name, share in SHARES.items()}
FILTERS |= {f"topic {share:.1%}": {"user": None, "topic": name} for name, share in SHARES.items()}


@dataclass
class Kind:
    """A peer: its title, its adapter, the environment it is installed in (None: the product's), its settings."""

    title: str
    adapter: str
    environment: str | None = "libraries"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        return self.environment is None


KINDS = [
    Kind("Memory Site, in process", "ours_in_process", None),
    Kind("Memory Site, HTTP", "ours", None),
    Kind("mem0", "mem0"),
    Kind("LangGraph store", "langgraph"),
    Kind("langchain-postgres, HNSW", "langchain", options={"index": True}),
    Kind("langchain-postgres, no index", "langchain", options={"index": False}),
    Kind("LlamaIndex", "llamaindex"),
    Kind("Hindsight", "hindsight", "hindsight"),
]


class Arm:
    """A running peer and its figures."""

    def __init__(self, kind: Kind, process: AnsweringProcess, database: str, empty_bytes: int) -> None:
        self.kind, self.process, self.database, self.empty_bytes = kind, process, database, empty_bytes
        self.bytes = 0
        self.singly, self.bulk, self.finish = 0.0, 0.0, 0.0
        self.times: dict[str, list[float]] = {}
        self.found: dict[str, list[tuple[int, float, int]]] = {}

    @property
    def title(self) -> str:
        versions = self.process.ready["versions"].values()
        return " ".join([self.kind.title, *versions])


def compare(arguments: argparse.Namespace, directory: Path) -> None:
    file = directory / "rows.npz"
    make_rows(file, arguments.rows, arguments.searches)
    rows = Rows(file)
    wanted = arguments.peers.split(",") if arguments.peers else [kind.adapter for kind in KINDS]
    with ExitStack() as stack:
        if arguments.extensions:
            add_extensions(arguments.extensions.resolve())
        url, _ = stack.enter_context(run_server())
        arms = []
        for kind in KINDS:
            if kind.adapter in wanted and (arm := start(kind, file, url, arguments)):
                stack.callback(arm.process.close)
                arms.append(arm)
        write_rows(arms, arguments.rows, arguments.singly)
        console.print(build_write_table(arms, arguments.rows, arguments.singly))
        search(arms, rows, arguments.searches)
        console.print(build_search_table(arms, list(FILTERS), arguments.searches))


def add_extensions(extensions: Path) -> None:
    """Let the embedded server, which is created here, find extensions of another installation too."""
    with ensure_services_for_command():
        pass
    with (settings.HOME.path / "postgres" / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{path.format(extensions)}'\n" for name, path in EXTENSION_PATHS.items())


def make_rows(file: Path, rows: int, searches: int) -> None:
    data = Synthetic(rows)
    save(file, data.vectors(rows), data.vectors(searches), [data.content(row) for row in range(rows)])


def start(kind: Kind, file: Path, url: str, arguments: argparse.Namespace) -> Arm | None:
    """Return the running peer, or None, and say so, when it is not installed."""
    python = arguments.environments / kind.environment / "bin/python" if kind.environment else Path(sys.executable)
    if not python.exists():
        errors.print(f"{kind.title} is left out: {python} does not exist.")
        return None
    database, options = prepare_database(kind, url)
    empty_bytes = fetch_size(database)
    command = [str(python), "-m", "tests.benchmarks.peers.arm", kind.adapter, str(file), json.dumps(options)]
    try:
        process = AnsweringProcess(command, {"PYTHONPATH": str(settings.BASE_DIR)})
    except ProcessEnded:
        errors.print(f"{kind.title} is left out: its process ended, for the reason above.")
        return None
    if "missing" in process.ready:
        errors.print(f"{kind.title} is left out: {process.ready['missing']}.")
        return None
    return Arm(kind, process, database, empty_bytes)


def prepare_database(kind: Kind, url: str) -> tuple[str, dict[str, Any]]:
    """Return the database and the adapter's settings. Ours has one database: each arm gets a namespace there."""
    if kind.is_ours:
        namespace = Namespace.objects.create(name=kind.adapter)
        _, token = ApiKey.objects.issue(namespace)
        ours = {"url": url, "token": token} if kind.adapter == "ours" else {"namespace": namespace.pk}
        return connection.settings_dict["NAME"], ours
    name = f"peer_{KINDS.index(kind)}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    return name, {"url": build_url(name)} | kind.options


def build_url(database: str) -> str:
    ours = settings.DATABASES["default"]
    who = f"{ours['USER']}:{quote(ours['PASSWORD'], safe='')}"
    return f"postgresql://{who}@/{database}?host={quote(str(ours['HOST']), safe='')}&port={ours['PORT']}"


def fetch_size(database: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(%s)", [database])
        return cursor.fetchone()[0]


def ask_all(arms: list[Arm], **request: Any) -> Iterator[tuple[Arm, dict[str, Any]]]:
    """Yield each peer's answer. One that fails is left out from then on."""
    for arm in list(arms):
        try:
            yield arm, arm.process.ask(**request)
        except ProcessEnded:
            errors.print(f"{arm.kind.title} is left out: it failed, for the reason above.")
            arms.remove(arm)


def write_rows(arms: list[Arm], rows: int, singly: int) -> None:
    turns = [(first, min(first + 20, singly), True) for first in range(0, singly, 20)]
    turns += [(first, min(first + BATCH, rows), False) for first in range(singly, rows, BATCH)]
    for first, last, one_by_one in track(turns, "writing", console=errors):
        for arm, answer in ask_all(arms, write=[first, last], singly=one_by_one):
            if one_by_one:
                arm.singly += answer["seconds"]
            else:
                arm.bulk += answer["seconds"]
    for arm, answer in ask_all(arms, finish=True):
        arm.finish = answer["seconds"]
        with psycopg.connect(build_url(arm.database), autocommit=True) as database:
            database.execute("VACUUM ANALYZE")
        sharing = sum(each.database == arm.database for each in arms)
        arm.bytes = (fetch_size(arm.database) - arm.empty_bytes) // sharing


def search(arms: list[Arm], rows: Rows, searches: int) -> None:
    turns = [(name, first) for name in FILTERS for first in range(0, searches, TURN_SEARCHES)]
    for name, first in track(turns, "searching", console=errors):
        numbers = list(range(first, min(first + TURN_SEARCHES, searches)))
        for arm, answer in ask_all(arms, search=numbers, **FILTERS[name]):
            arm.times.setdefault(name, []).extend(answer["ms"])
            judged = [
                rows.judge(Wanted(number, **FILTERS[name]), found)
                for number, found in zip(numbers, answer["found"], strict=True)
            ]
            arm.found.setdefault(name, []).extend(judged)
