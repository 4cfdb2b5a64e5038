"""Threads that note the heartbeats of their processes."""

import threading

from django.conf import settings
from django.db import Error, connection

from memory_site.core.releases.watch import release_watch
from memory_site.operations.models import Heartbeat, ProcessKind

HEARTBEAT_INTERVAL_SECONDS = 10
#: Of a worker: its four threads, the heartbeat, and those that renew leases.
WORKER_CONNECTIONS = 8

_stopping = threading.Event()


def start_worker_heartbeat(**_: object) -> None:
    """Note the heartbeats of a worker until it stops on purpose."""
    start_thread(ProcessKind.WORKER, WORKER_CONNECTIONS)


def start_beat_heartbeat(**_: object) -> None:
    """Note the heartbeats of a beat, standing by or not: how long it has run, and its clock."""
    start_thread(ProcessKind.BEAT, 0)  # its connection is one of SPARE_CONNECTIONS


def start_web_heartbeat() -> None:
    """Note the heartbeats of a web process, which say how many connections it may open."""
    pool = settings.DATABASES["default"]["OPTIONS"]["pool"]
    watching = 1 if settings.REPLICAS else 0  # the connection that compares the primary with its replicas
    start_thread(ProcessKind.WEB, pool["max_size"] + watching)


def stop_heartbeat(**_: object) -> None:
    """Have the thread remove this process. Returns at once, because a signal's handler calls it."""
    _stopping.set()


def start_thread(kind: ProcessKind, connections: int) -> None:
    use_database(release_watch.look)  # before the first request or task
    threading.Thread(target=run_heartbeat, args=(kind, connections), name="heartbeat", daemon=True).start()


def run_heartbeat(kind: ProcessKind, connections: int) -> None:
    use_database(Heartbeat.objects.remove_ended)
    while not _stopping.is_set():
        use_database(release_watch.look)
        use_database(Heartbeat.objects.note, kind, connections)
        _stopping.wait(HEARTBEAT_INTERVAL_SECONDS)
    use_database(Heartbeat.objects.remove_own, kind)


def use_database(function, *arguments: object) -> None:
    """Call a function on a connection that is closed afterwards. A database that is away is the health check's."""
    try:
        function(*arguments)
    except Error:
        pass
    finally:
        connection.close()
