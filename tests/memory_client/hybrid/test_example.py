"""The worked example, with and without its server."""

import os
import subprocess
import sys

from tests.memory_client.hybrid.conftest import ROOT


def run_example(path, url, key, wait):
    argv = [sys.executable, str(ROOT / "examples" / "hybrid_agent.py"), "--path", str(path), "--wait", str(wait)]
    environment = os.environ | {"MEMORY_URL": url, "MEMORY_KEY": key, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=200, check=True)
    return done.stdout.splitlines()


def test_the_example_remembers_while_its_server_is_away(relay, client, key, path):
    relay.down()
    for seconds in (0.5, 45):  # within which the first attempt is made
        first, second = run_example(path, relay.url, key, seconds)
        if "None" not in second:
            break
    assert first == "Ada's file says: Ada prefers short answers."
    assert second.startswith("2 writes wait for the server: ConnectionFailed")
    relay.up()
    assert run_example(path, relay.url, key, 60)[1] == "The server has everything."
    assert len(list(client.memories.list(user_id="hybrid-example-ada"))) == 2
