"""A worker that dies in the middle of its work loses nothing."""

from tests.stack.stack import wait_until

COUNT = 400
#: Long enough that the model needs a moment for each.
FILLER = " It was written down so that nobody has to ask for it again, and it is read out at every yearly meeting." * 3


def in_hand(stack):
    """Memories a worker has claimed and not done."""
    return stack.rows("SELECT count(*) FROM memories_dueembedding WHERE tries > 0")[0][0]


def is_caught_in_the_middle(stack):
    """Freeze the worker; let it go on when it has not begun, or has nothing in its hands just now."""
    worker = stack.part("worker")
    worker.suspend()
    if 0 < stack.backlog < COUNT and in_hand(stack):
        return True
    worker.resume()
    return False


def test_every_memory_is_embedded_in_the_end_exactly_once(shaken, measured):
    wait_until(lambda: shaken.backlog == 0, 60, "the worker is free")
    memories = [{"content": f"Entry {number} of the inventory.{FILLER}", "user_id": "clerk"} for number in range(COUNT)]
    assert shaken.call("POST", "/memories/bulk", {"memories": memories}).status == 201
    wait_until(lambda: is_caught_in_the_middle(shaken), 60, "the worker is in the middle of its work")
    claimed, killed = in_hand(shaken), shaken.kill("worker")
    back = wait_until(lambda: shaken.is_back("worker", killed), 20, "the supervisor starts a worker again")
    measured("from a killed worker to the next", back)
    done = back + wait_until(lambda: shaken.backlog == 0, 90, "everything is embedded")
    measured(f"from a killed worker, with {claimed} of {COUNT} texts in its hands, to all vectors", done)
    made = "JOIN memories_embedding e ON m.id = e.memory_id AND m.content_hash = e.content_hash"
    facts = "count(*), count(DISTINCT e.memory_id), (SELECT count(*) FROM memories_dueembedding)"
    [found] = shaken.rows(f"SELECT {facts} FROM memories_memory m {made} WHERE m.user_id = 'clerk'")
    assert found == (COUNT, COUNT, 0)
