"""`python -m client_generator < openapi.json` writes the generated modules of the client."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from client_generator.operations import read_operations
from client_generator.types import TypeWriter
from client_generator.write_groups import GroupWriter
from client_generator.write_operations import write_operations
from client_generator.write_types import write_fields, write_models

PACKAGE = Path(__file__).resolve().parents[1] / "memory_client"


def write_modules(document: dict[str, Any]) -> dict[str, str]:
    """Return the text of each generated module by its file name."""
    components, operations = document["components"]["schemas"], read_operations(document)
    inputs, results = TypeWriter(components, is_input=True), TypeWriter(components, is_input=False)
    modules = {
        "operations.py": write_operations(operations),
        "models.py": write_models(components, operations),
        "fields.py": write_fields(components, operations),
        "groups.py": GroupWriter(inputs, results, is_async=False).write(operations),
        "async_groups.py": GroupWriter(inputs, results, is_async=True).write(operations),
    }
    return {name: format_code(text, name) for name, text in modules.items()}


def format_code(text: str, name: str) -> str:
    """Return the text as `make lint` wants it, with no import that it does not use."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff"
    path = ["--stdin-filename", str(PACKAGE / name)]
    for command in (["check", "--quiet", "--fix-only", "--select", "F401,I", *path], ["format", "--quiet", *path]):
        argv = [ruff, *command, "-"]
        text = subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout  # noqa: S603
    return text


def main() -> None:
    for name, text in write_modules(json.load(sys.stdin)).items():
        (PACKAGE / name).write_text(text)


if __name__ == "__main__":
    main()
