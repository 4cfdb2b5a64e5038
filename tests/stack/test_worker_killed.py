"""A worker that is killed during its work loses nothing."""

from tests.stack.stack import wait_until

MEMORY_COUNT = 400
#: Long enough that the model needs a moment for each.
FILLER_TEXT = (
    " It was written down so that nobody has to ask for it again, and it is read out at every yearly meeting." * 3
)


def count_claimed(stack):
    """Memories a worker has claimed and not done."""
    return stack.rows("SELECT count(*) FROM memories_dueembedding WHERE attempts > 0")[0][0]


def freeze_worker_midway(stack):
    """Freeze the worker; let it go on when it has not begun, or has nothing in its hands just now."""
    worker = stack.part("worker")
    worker.suspend()
    if 0 < stack.backlog < MEMORY_COUNT and count_claimed(stack):
        return True
    worker.resume()
    return False


def test_every_memory_is_embedded_exactly_once(shaken, measured):
    wait_until(lambda: shaken.backlog == 0, 60, "the worker is free")
    memories = [
        {"content": f"Entry {number} of the inventory.{FILLER_TEXT}", "user_id": "clerk"}
        for number in range(MEMORY_COUNT)
    ]
    assert shaken.call("POST", "/memories/bulk", {"memories": memories}).status == 201
    wait_until(lambda: freeze_worker_midway(shaken), 60, "the worker is in the middle of its work")
    claimed, killed = count_claimed(shaken), shaken.kill("worker")
    back = wait_until(lambda: shaken.is_back("worker", killed), 60, "the supervisor starts a worker again")
    measured("from a killed worker to the next", back)
    done = back + wait_until(lambda: shaken.backlog == 0, 90, "everything is embedded")
    measured(f"from a killed worker, with {claimed} of {MEMORY_COUNT} texts in its hands, to all vectors", done)
    made = "JOIN memories_embedding e ON m.id = e.memory_id AND m.content_hash = e.content_hash"
    facts = "count(*), count(DISTINCT e.memory_id), (SELECT count(*) FROM memories_dueembedding)"
    [found] = shaken.rows(f"SELECT {facts} FROM memories_memory m {made} WHERE m.user_id = 'clerk'")
    assert found == (MEMORY_COUNT, MEMORY_COUNT, 0)
