"""Turns and prompts where the disk or the hook's own words are odd."""

import json

import pytest
from memory_hooks.events import start_session, stop, submit_prompt
from memory_hooks.queue import Queue
from memory_hooks.settings import Settings

from tests.plugins.claude_code.servers import answer_with, serve


@pytest.fixture
def turn(tmp_path) -> dict:
    path = tmp_path / "transcript.jsonl"
    question = {"type": "user", "message": {"content": "When does the harbour open?"}}
    path.write_text(json.dumps(question) + "\n")
    return {"session_id": "s", "transcript_path": str(path), "last_assistant_message": "At nine."}


@pytest.fixture
def unwritable(settings) -> Settings:
    """Settings of a folder in which no queue can be written."""
    Queue(settings).path.with_suffix(".draft").mkdir(parents=True)
    return settings


def test_turn_that_cannot_be_kept_is_sent_at_once(unwritable, turn):
    asked: list[bytes] = []
    with serve(unwritable._replace(remember=True), answer_with(201, {}, asked)) as settings:
        Queue(settings).path.with_suffix(".draft").mkdir()
        assert stop(settings, turn) == {}
    assert [each.split()[1] for each in asked] == [b"/api/v1/sessions/s/interactions", b"/api/v1/memories"]


def test_turn_that_can_neither_be_kept_nor_sent_is_said_to_be_lost(unwritable, turn, tmp_path):
    assert "(Is a directory)" in stop(unwritable, turn)["systemMessage"]
    assert "lost" in stop(unwritable._replace(folder=tmp_path / "transcript.jsonl"), turn)["systemMessage"]


def test_disk_that_is_full_takes_nothing_from_the_queue(settings, turn):
    stop(settings, turn)
    waiting = Queue(settings)._read()
    Queue(settings).path.with_suffix(".draft").mkdir()
    stop(settings, turn | {"prompt_id": "another"})
    assert Queue(settings)._read() == waiting != []


def test_any_name_of_a_session_stays_in_its_path(settings, turn):
    stop(settings, turn | {"session_id": "../memories/x y?\n#"})
    [request] = Queue(settings)._read()
    assert request["path"] == "/sessions/..%2Fmemories%2Fx%20y%3F%0A%23/interactions"


@pytest.mark.parametrize(
    ("status", "said"), [(403, "may not write (403)"), (401, "refuses the key in MEMORY_KEY (401)"), (503, None)]
)
def test_session_that_starts_says_that_the_key_does_not_fit_what_waits(status, said, settings, turn):
    refusal = answer_with(status, {"status": status}, [], b"application/problem+json")
    with serve(settings._replace(recall=False), refusal) as settings:
        stop(settings, turn)
        message = start_session(settings, {}).get("systemMessage")
    assert said in message if said else message is None
    assert len(Queue(settings)._read()) == 1


@pytest.mark.parametrize(
    "fields", [{}, {"cwd": 5, "transcript_path": 7}, {"cwd": "a\0b", "transcript_path": "a\0b", "session_id": []}]
)
def test_prompt_is_asked_about_whatever_the_other_fields_are(fields, settings):
    memory = {"id": "m", "created_at": "2026", "content": "At\x1b nine."}
    answer = answer_with(200, {"memories": [{"score": 1, "memory": memory}], "preferences": []}, [])
    hook = {"hook_event_name": "UserPromptSubmit", "prompt": "\ud83d When?" + " x" * 100_000}
    with serve(settings._replace(folder=settings.folder / ("n" * 999)), answer) as settings:
        output = submit_prompt(settings, hook | fields)
    assert "[m] 2026: At nine." in output["hookSpecificOutput"]["additionalContext"]
