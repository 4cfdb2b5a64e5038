"""Another embedding model takes over during searches; a killed worker only delays it."""

import pytest

from tests.stack.stack import run_manage, running_stack, wait_until

MEMORY_COUNT = 500
OLD_MODEL, NEW_MODEL = "hashing-1", "all-MiniLM-L6-v2-int8"
#: Long enough that the model needs a moment for each.
FILLER_TEXT = (
    " It was written down so that nobody has to ask for it again, and it is read out at every yearly meeting." * 2
)
#: Who stores a vector of the oldest memory waits. A run comes to it last.
LOCK_OLDEST_SQL = "SELECT 1 FROM memories_memory ORDER BY created_at, id LIMIT 1 FOR UPDATE"


def build_entry(number: int) -> str:
    return f"Entry {number} of the inventory.{FILLER_TEXT}"


@pytest.fixture(scope="module")
def changed():
    """A site whose memories have vectors of one model and which is configured for another one now."""
    with running_stack(EMBEDDER="hashing") as stack:
        memories = [{"content": build_entry(number)} for number in range(MEMORY_COUNT)]
        assert stack.call("POST", "/memories/bulk", {"memories": memories}).status == 201
        stack.add("The cellar is full of old wine.")
        wait_until(lambda: stack.backlog == 0, 60, "all have vectors of the first model")
        assert not stack.stop()
        stack.environment["EMBEDDER"] = "onnx"
        yield stack.start()


def count_models(stack) -> dict[str, int]:
    return dict(stack.rows("SELECT model, count(*) FROM memories_embedding GROUP BY 1"))


def finds_by_vector(stack, number: int) -> bool:
    """Whether a search by meaning alone gives a memory for its own words, as it does by either model."""
    found = stack.search(build_entry(number), mode="vector", limit=1)
    return not found["degraded"] and [hit["memory"]["content"] for hit in found["results"]] == [build_entry(number)]


def count_reembedded(stack) -> int:
    return (stack.summary()["reembedding"] or {"memories_done": 0})["memories_done"]


def test_a_changed_configuration_changes_nothing_by_itself(changed):
    assert finds_by_vector(changed, 7)
    changed.add("A newcomer with a suitcase.")
    wait_until(lambda: changed.backlog == 0, 60, "the newcomer has a vector")
    assert count_models(changed) == {OLD_MODEL: MEMORY_COUNT + 2}
    wait_until(lambda: changed.health()["models"] == "degraded", 60, "health knows of both models")
    doctor = run_manage("doctor", **changed.environment)
    assert "python manage.py reembed" in doctor.stdout
    # Words apart, the first model sees no likeness.
    assert changed.search("drinks kept underground", mode="vector")["results"][0]["similarity"] < 0.3


def test_searches_are_answered_during_reembedding(changed, measured):
    with changed.holding(LOCK_OLDEST_SQL) as wait_until_worker_waits:
        assert "A worker re-embeds 1 namespaces" in run_manage("reembed", "--background", **changed.environment).stdout
        wait_until_worker_waits()
        assert 0 < count_reembedded(changed) < MEMORY_COUNT
        assert finds_by_vector(changed, 11)
        killed = changed.kill("worker")
    changed.add("Said while nobody was there to listen.")
    answered = [finds_by_vector(changed, number) for number in range(30)]
    wait_until(lambda: changed.is_back("worker", killed), 60, "the supervisor starts a worker again")

    def all_are_new() -> bool:
        answered.append(finds_by_vector(changed, len(answered) % MEMORY_COUNT))
        return changed.summary()["embedding_model"] == NEW_MODEL

    measured("from a killed worker to all searches by the new model", wait_until(all_are_new, 120, "the new model"))
    wait_until(lambda: count_models(changed) == {NEW_MODEL: MEMORY_COUNT + 3}, 60, "nothing else is left")
    assert all(answered)
    assert changed.backlog == 0
    wait_until(lambda: changed.health()["models"] == "healthy", 60, "health knows of one model")
    assert changed.search("drinks kept underground")["results"][0]["memory"]["content"].startswith("The cellar")


def test_second_reembedding_has_nothing_to_do(changed):
    result = run_manage("reembed", **changed.environment)
    assert (result.returncode, result.stdout) == (0, "All vectors are of the configured model. Nothing to do.\n")
