"""An agent whose memory goes on while its server is away.

    MEMORY_URL=http://127.0.0.1:8000 MEMORY_KEY=mem_… python examples/hybrid_agent.py

Stop the server, run it again, start the server, run it once more: nothing that Ada said is lost.
"""

import argparse
import logging
from pathlib import Path

from memory_client.hybrid import HybridMemory

USER = "hybrid-example-ada"
FACTS = ("Ada prefers short answers.", "Ada works on the harbour of Ulm.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--path", type=Path, default=Path("hybrid-agent.db"), help="the local file")
    parser.add_argument("--wait", type=float, default=5, help="seconds for the server to take what waits")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with HybridMemory(path=arguments.path) as memory:
        run(memory, arguments.wait)


def run(memory: HybridMemory, wait: float) -> None:
    known = {node.text for node in memory.ensure_user_memories(USER).nodes()}
    for fact in FACTS:
        if fact not in known:
            memory.store_persistent_memory(USER, fact, "user_preference", tags=["example"])
    memory.store_transient_memory("thread-example", {"question": "How long may the answer be?"}, "conversation_fact")
    last = memory.load_checkpoint("example")
    memory.save_checkpoint("example", {"run": last.state["run"] + 1 if last else 1})
    best = memory.retrieve(USER, "which answers does Ada prefer?")[0]
    print(f"Ada's file says: {best.node.text}")
    sent = memory.flush(wait)
    status = memory.status()
    print(
        "The server has everything."
        if sent
        else f"{status.waiting} writes wait for the {status.blocked_by}: {status.last_error}"
    )


if __name__ == "__main__":
    main()
