"""Run a whole site until stdin ends: `python -m tests.adapters.run_site` prints its address, a key, its data directory
and how libpq connects to its database, as JSON.

The frameworks' environment starts it with the product's Python, whose packages it does not have.
"""

import json
import subprocess
import sys

from memory_site.embedded.data_dir import DataDirectory
from tests.stack.stack import Stack, run_manage, running_stack


def create_key(data: str, namespace: str) -> str:
    """Return a new key of a namespace that other tests do not use."""
    made = run_manage("create_api_key", "--namespace", namespace, DATA_DIR=data, EMBEDDER="onnx")
    if made.returncode:
        raise subprocess.CalledProcessError(made.returncode, made.args, made.stdout, made.stderr)
    return next(word for word in made.stdout.split() if word.startswith("mem_"))


def build_connection_string(stack: Stack) -> str:
    parts = DataDirectory(stack.data).database
    names = {"HOST": "host", "PORT": "port", "NAME": "dbname", "USER": "user", "PASSWORD": "password"}
    return " ".join(f"{name}='{parts[part]}'" for part, name in names.items())


def main() -> None:
    """Answer each line of stdin, the name of a namespace, with a key of it."""
    with running_stack(EMBEDDER="onnx") as stack:
        site = {"url": stack.url, "key": stack.key, "data": str(stack.data), "database": build_connection_string(stack)}
        print(json.dumps(site), flush=True)
        for line in sys.stdin:
            print(create_key(str(stack.data), line.strip()), flush=True)


if __name__ == "__main__":
    main()
