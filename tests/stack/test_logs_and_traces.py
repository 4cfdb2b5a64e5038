"""What a running site writes about its work: JSON lines that hold nothing of what callers sent."""

import json
import re
from collections.abc import Iterator

import pytest

from memory_site.embedded.data_dir import DataDirectory
from tests.stack.stack import Stack, running_stack, wait_until

CONTENT, QUERY, USER, SESSION, BODY, PASSWORD, KEY, NAME = (
    f"canary-{name}-7f3a" for name in ("content", "query", "user", "session", "body", "password", "key", "name")
)
SECONDS = 30


@pytest.fixture(scope="module")
def site() -> Iterator[Stack]:
    with running_stack(EMBEDDER="hashing", LOG_FORMAT="json") as stack:
        yield stack


def read_logs(site: Stack) -> dict[str, str]:
    """What the logs hold, by file; `errors` is what `serve` itself wrote to stderr."""
    files = {path.name: path.read_text() for path in (site.data / "logs").iterdir()}
    return files | {"errors": site.errors.read_text()}


def read_lines(site: Stack, name: str) -> list[dict]:
    return [json.loads(line) for line in (site.data / "logs" / name).read_text().splitlines()]


def find_lines(site: Stack, name: str, **fields: object) -> list[dict]:
    return [line for line in read_lines(site, name) if fields.items() <= line.items()]


def test_no_log_holds_what_callers_send(site):
    use_site_with_canaries(site)
    fail_in_the_web_server(site)
    fail_in_the_worker(site)
    log_in_wrongly(site)
    home = DataDirectory(site.data)
    secrets = [site.key, site.key.split("_")[2], site.password, *map(home.secret, ("database", "postgres", "django"))]
    logs = read_logs(site)
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
    too_long_for_an_index = {"content": CONTENT, "entity_system": "\U0001f4a9" * 255, "entity_id": "\U0001f4a9" * 255}
    assert site.call("POST", "/memories", too_long_for_an_index).status in (201, 422)


def fail_in_the_web_server(site: Stack) -> None:
    """An error of the program (a column is missing), and a row that a constraint refuses."""
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
