"""What a running site writes and sends about its work: JSON lines and traces that hold nothing of what callers sent."""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

import memory_site
from memory_site.embedded.data_dir import DataDirectory
from tests.exposition import read_samples
from tests.otlp import ReceivedSpan, Receiver, running_receiver
from tests.stack.stack import Stack, running_stack, wait_until

CONTENT, QUERY, USER, SESSION, BODY, PASSWORD, KEY, NAME = (
    f"canary-{name}-7f3a" for name in ("content", "query", "user", "session", "body", "password", "key", "name")
)
SECONDS = 60


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def site(receiver) -> Iterator[Stack]:
    traced = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_METRIC_EXPORT_INTERVAL": "500",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=tests",
    }
    with running_stack(EMBEDDER="hashing", LOG_FORMAT="json", **traced) as stack:
        yield stack


def read_logs(site: Stack) -> dict[str, str]:
    """What the logs hold, by file; `errors` is what `serve` itself wrote to stderr."""
    files = {path.name: path.read_text() for path in (site.data / "logs").iterdir()}
    return files | {"errors": site.errors.read_text()}


def read_lines(site: Stack, name: str) -> list[dict]:
    """Without one that is being written."""
    text = (site.data / "logs" / name).read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def find_lines(site: Stack, name: str, **fields: object) -> list[dict]:
    return [line for line in read_lines(site, name) if fields.items() <= line.items()]


def test_no_log_and_no_trace_holds_what_callers_send(site, receiver):
    use_site_with_canaries(site)
    fail_in_the_web_server(site)
    fail_in_the_worker(site)
    log_in_wrongly(site)
    home = DataDirectory(site.data)
    secrets = [
        site.key,
        site.key.split("_", 2)[2],
        site.password,
        *map(home.secret, ("database", "postgres", "django")),
    ]
    logs = read_logs(site) | {"traces": b"".join(receiver.bodies).decode(errors="replace")}
    leaks = [
        (secret, name)
        for secret in (CONTENT, QUERY, USER, SESSION, BODY, PASSWORD, KEY, NAME, "canary", *secrets)
        for name, text in logs.items()
        if secret in text
    ]
    assert leaks == [], f"LEAK {len(leaks)}"
    assert {"web.log", "worker.log", "beat.log", "postgres.log", "broker.log"} <= logs.keys()


def use_site_with_canaries(site: Stack) -> None:
    memory = site.add(CONTENT, user_id=USER, session_id=SESSION, metadata={"note": CONTENT})
    assert site.call("GET", f"/users/{USER}").status == 200
    assert site.call("GET", f"/memories?user_id={USER}&session_id={SESSION}").status == 200
    site.search(QUERY, filters={"user_id": USER})
    assert site.call("POST", f"/sessions/{SESSION}/interactions", {"query": QUERY, "answer": CONTENT}).status == 201
    assert site.call("PATCH", f"/memories/{memory['id']}", {"nothing": BODY}).status == 422
    assert site.call("GET", f"/{USER}").status == 404
    assert site.call("GET", "/memories", Authorization=f"Bearer mem_0123456789abcdef_{KEY}").status == 401
    headers = {"Authorization": f"Bearer {site.key}", "Content-Type": "application/json"}
    address = f"{site.url}/api/v1/memories"
    assert site.http.request("POST", address, body=f'{{"content": "{BODY}", {BODY}', headers=headers).status == 400


def fail_in_the_web_server(site: Stack) -> None:
    """An error of the program (a column is missing), a row that a constraint refuses, and a value that does not fit."""
    with site.connect() as database:
        database.execute("ALTER TABLE memories_memory RENAME COLUMN summary TO gone")
        try:
            assert site.call("POST", "/memories", {"content": f"{CONTENT} again", "user_id": USER}).status == 500
            assert site.call("GET", f"/users/{USER}/memories").status == 500
        finally:
            database.execute("ALTER TABLE memories_memory RENAME COLUMN gone TO summary")
        database.execute("ALTER TABLE memories_memory ADD CONSTRAINT no_birds CHECK (content !~ 'bird') NOT VALID")
        assert site.call("POST", "/memories", {"content": f"{CONTENT} bird"}).status == 422
        database.execute("ALTER TABLE memories_memory DROP CONSTRAINT no_birds")
        database.execute("ALTER TABLE knowledge_pattern ALTER COLUMN key TYPE varchar(3)")
        pattern = {"key": CONTENT, "pattern_type": "workflow", "description": CONTENT}
        assert site.call("POST", "/patterns", pattern).status == 422
        database.execute("ALTER TABLE knowledge_pattern ALTER COLUMN key TYPE varchar(255)")
    failed = find_lines(site, "web.log", level="error", route="/api/v1/memories", logger="memory_site.api")
    assert "UndefinedColumn" in failed[0]["traceback"]
    assert failed[0]["sqlstate"] == "42703"
    assert failed[0]["key_id"] == site.key.split("_")[1]


def fail_in_the_worker(site: Stack) -> None:
    """A vector that cannot be stored: PostgreSQL's message would show its row."""
    with site.connect() as database:
        database.execute("ALTER TABLE memories_embedding ADD CONSTRAINT no_fish CHECK (user_id <> 'fish') NOT VALID")
        site.add(f"{CONTENT} fish", user_id="fish", session_id=SESSION)
        ended = {"logger": "memory_site.tasks", "task": "memories.tasks.embed_due", "state": "FAILURE"}
        wait_until(lambda: find_lines(site, "worker.log", **ended), SECONDS, "the worker logs its failure")
        database.execute("ALTER TABLE memories_embedding DROP CONSTRAINT no_fish")
    [failed, *_] = find_lines(site, "worker.log", sqlstate="23514")
    assert failed["task"] == "memories.tasks.embed_due"
    assert "constraint no_fish" in failed["error"]


def log_in_wrongly(site: Stack) -> None:
    form = site.page("/admin/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form.data.decode())[1]
    answer = site.http.request(
        "POST",
        f"{site.url}/admin/login/",
        fields={"username": NAME, "password": PASSWORD, "csrfmiddlewaretoken": token},
        headers={"Cookie": form.headers["Set-Cookie"].partition(";")[0]},
        encode_multipart=False,
    )
    assert answer.status == 200


def test_every_line_is_json_and_names_its_process(site):
    for name, process in {"web.log": "web", "worker.log": "worker", "beat.log": "beat"}.items():
        for line in read_lines(site, name):
            assert line["process"] == process, line
            assert {"timestamp", "level", "event", "logger", "pid", "host"} <= line.keys()


def test_a_request_is_one_line_with_the_callers_id(site):
    answer = site.call("GET", f"/users/{USER}", X_Request_ID="my-own-id")
    [line] = find_lines(site, "web.log", request_id="my-own-id")
    assert answer.headers["X-Request-ID"] == "my-own-id"
    expected = {"event": "Request finished", "method": "GET", "status": 200, "key_id": site.key.split("_")[1]}
    assert expected.items() <= line.items()
    assert line["route"].startswith("/api/v1/users/<")
    assert isinstance(line["namespace"], int)
    assert line["duration_ms"] > 0


def test_probes_are_not_logged(site):
    site.page("/health/live")
    assert not find_lines(site, "web.log", route="/health/live")


def test_one_trace_leads_from_the_request_to_the_statements_of_the_worker(site, receiver):
    trace_id, claim = next(filter(None, (store_traced(site, receiver, number) for number in range(1, 6))))
    trace = receiver.trace(trace_id)
    request, stored = follow(trace, f"{9:016x}", "POST /api/v1/memories", "WITH")
    sent, task = follow(trace, request.span_id, "send memories.tasks.embed_due", "run memories.tasks.embed_due")
    run, *_ = follow(trace, task.span_id, "embed what is due", "embed texts")
    assert claim.parent_id == run.span_id
    assert [span.process for span in (request, stored, sent, task, run)] == ["web", "web", "web", "worker", "worker"]
    assert "%(drafts)s" in query(stored)
    assert not any(span.events or span.failed for span in trace)
    [line] = find_lines(site, "web.log", trace_id=trace_id, event="Request finished")
    assert line["span_id"] == request.span_id
    assert find_lines(site, "worker.log", trace_id=trace_id, event="Task finished", span_id=task.span_id)


def store_traced(site: Stack, receiver: Receiver, number: int) -> tuple[str, ReceivedSpan] | None:
    """Store a memory. Return its trace and the worker's claim in it; None if a task that beat sent was faster."""
    trace_id = f"{number:032x}"
    add_traced(site, trace_id)

    def is_finished() -> bool:  # the last spans of both processes, either of which may send first
        return {"POST /api/v1/memories", "send memories.tasks.embed_due", "run memories.tasks.embed_due"} <= {
            span.name for span in receiver.trace(trace_id)
        }

    wait_until(is_finished, SECONDS, "the request, its message and the worker's task are traced")
    claims = [span for span in receiver.trace(trace_id) if "FOR UPDATE" in query(span)]
    return (trace_id, claims[0]) if claims else None


def query(span: ReceivedSpan) -> str:
    return span.attributes.get("db.query.text", "")


def follow(trace: list[ReceivedSpan], parent_id: str, *names: str) -> list[ReceivedSpan]:
    """Return the spans of these names, each the child of the one before."""
    path: list[ReceivedSpan] = []
    for name in names:
        path.append(next(span for span in trace if span.name == name and span.parent_id == parent_id))
        parent_id = path[-1].span_id
    return path


def test_requests_that_share_a_message_are_linked(site, receiver):
    """Ten at once: each of them leads to the worker, as parent or by a link of a task or of what it did."""
    traces = [f"{number:032x}" for number in range(100, 110)]
    with ThreadPoolExecutor(10) as threads:
        list(threads.map(lambda trace: add_traced(site, trace), traces))

    def led() -> bool:
        worker = [span for span in receiver.spans if span.process == "worker"]
        found = {span.trace_id for span in worker} | {link for span in worker for link in span.links}
        return found >= set(traces)

    wait_until(led, SECONDS, "every trace leads to the worker")


def add_traced(site: Stack, trace_id: str) -> None:
    body = {"content": f"A cup of tea: {trace_id}"}
    assert site.call("POST", "/memories", body, traceparent=f"00-{trace_id}-{9:016x}-01").status == 201


def test_a_caller_that_is_not_sampled_is_not_traced(site, receiver):
    trace_id = f"{200:032x}"
    assert site.call("GET", "/summary", traceparent=f"00-{trace_id}-{9:016x}-00").status == 200
    site.call("GET", "/summary", traceparent=f"00-{201:032x}-{9:016x}-01")
    wait_until(lambda: receiver.trace(f"{201:032x}"), SECONDS, "a later request is traced")
    assert receiver.trace(trace_id) == []


def test_a_failed_task_is_a_failed_span(site, receiver):
    """The constraint of the first test."""
    [span, *_] = [span for span in receiver.spans if span.attributes.get("db.response.status_code") == "23514"]
    assert span.failed
    assert any(span.failed and span.name == "run memories.tasks.embed_due" for span in receiver.spans)


def test_spans_say_who_sent_them(site, receiver):
    processes = {span.resource["service.instance.id"]: span.process for span in receiver.spans}
    assert sorted(processes.values()) == ["web", "worker"]
    resource = receiver.spans[0].resource
    assert resource["service.name"] == "memory-site"
    assert resource["service.version"] == memory_site.__version__
    assert resource["deployment.environment.name"] == "tests"


def test_durations_are_those_of_the_metrics(site, receiver):
    name = "memory_site_request_duration_seconds"
    counted = read_samples(site.page("/metrics", site.key).data.decode())[f'{name}_count{{operation="add_memory"}}']
    assert counted >= 10
    wait_until(lambda: count_added(receiver.histograms.get(name, [])) == counted, SECONDS, "all durations are sent")
    wait_until(
        lambda: "memory_site_embedding_batch_duration_seconds" in receiver.histograms, SECONDS, "the worker's too"
    )


def count_added(points: list[tuple[dict, int]]) -> int:
    return sum(count for labels, count in points if labels["operation"] == "add_memory")


def test_the_last_spans_are_sent_when_the_site_stops(site, receiver):
    """The last test: it stops the site."""
    trace_id = f"{300:032x}"
    site.call("GET", "/summary", traceparent=f"00-{trace_id}-{9:016x}-01")
    site.stop()
    assert receiver.trace(trace_id)
