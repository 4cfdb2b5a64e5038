"""A worker that is killed during its work loses nothing."""

from contextlib import ExitStack

from tests.stack.stack import wait_until

MEMORY_COUNT = 400
#: Long enough that the model needs a moment for each.
FILLER_TEXT = (
    " It was written down so that nobody has to ask for it again, and it is read out at every yearly meeting." * 3
)
#: Who stores a vector of this memory waits.
LOCK_MEMORY_SQL = "SELECT 1 FROM memories_memory WHERE user_id = 'clerk' AND content LIKE 'Entry 200 %' FOR UPDATE"


def count_claimed(stack):
    """Memories a worker has claimed and not done."""
    return stack.rows("SELECT count(*) FROM memories_dueembedding WHERE attempts > 0")[0][0]


def test_every_memory_is_embedded_exactly_once(shaken, measured):
    wait_until(lambda: shaken.backlog == 0, 60, "the worker is free")
    memories = [
        {"content": f"Entry {number} of the inventory.{FILLER_TEXT}", "user_id": "clerk"}
        for number in range(MEMORY_COUNT)
    ]
    with ExitStack() as frozen:
        frozen.enter_context(shaken.frozen("worker"))
        assert shaken.call("POST", "/memories/bulk", {"memories": memories}).status == 201
        with shaken.holding(LOCK_MEMORY_SQL) as wait_until_worker_waits:
            frozen.close()
            wait_until_worker_waits()
            claimed, killed = count_claimed(shaken), shaken.kill("worker")
    back = wait_until(lambda: shaken.is_back("worker", killed), 60, "the supervisor starts a worker again")
    measured("from a killed worker to the next", back)
    done = back + wait_until(lambda: shaken.backlog == 0, 90, "everything is embedded")
    measured(f"from a killed worker, with {claimed} of {MEMORY_COUNT} texts in its hands, to all vectors", done)
    made = "JOIN memories_embedding e ON m.id = e.memory_id AND m.content_hash = e.content_hash"
    facts = "count(*), count(DISTINCT e.memory_id), (SELECT count(*) FROM memories_dueembedding)"
    [found] = shaken.rows(f"SELECT {facts} FROM memories_memory m {made} WHERE m.user_id = 'clerk'")
    assert found == (MEMORY_COUNT, MEMORY_COUNT, 0)
