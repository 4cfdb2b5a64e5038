"""`make client-wheel`: the client's wheel in an empty environment: its size, its dependencies, the time of its import.

Needs the package registry that pip is set up for. Ends with 1 when a figure is too high.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "memory_client"
MAX_DIRECT, MAX_SECONDS = 5, 0.2
TOOLS = {"pip", "setuptools", "wheel"}
#: Processor time, for busy machines.
IMPORT = "import time; begun = time.process_time(); import memory_client; print(time.process_time() - begun)"
DIRECT = """
from importlib.metadata import requires
print(len([each for each in requires("memory-site-client") if "extra ==" not in each]))
"""


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="memory-site-wheel-") as directory:
        sys.exit(measure(Path(directory)))


def measure(directory: Path) -> bool:
    """Print the figures. Return whether one is too high."""
    run(
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(directory),
        str(FOLDER),
    )
    (wheel,) = directory.glob("*.whl")
    venv.create(directory / "empty", with_pip=True)
    python = str(directory / "empty/bin/python")
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", str(wheel))
    installed = {each["name"] for each in json.loads(run(python, "-m", "pip", "list", "--format", "json"))} - TOOLS
    direct = int(run(python, "-c", DIRECT))
    times = [float(run(python, "-c", IMPORT)) for _ in range(11)][1:]
    seconds = statistics.median(times)
    print(f"wheel: {wheel.stat().st_size / 1000:.0f} kB")
    print(f"dependencies: {direct} direct, {len(installed) - 1} in all ({', '.join(sorted(installed))})")
    print(
        f"import memory_client: {seconds:.3f} s of processor time (median of 10, {min(times):.3f} to {max(times):.3f})"
    )
    return direct > MAX_DIRECT or seconds > MAX_SECONDS


def run(*argv: str) -> str:
    environment = {"PYTHONDONTWRITEBYTECODE": ""}
    return subprocess.run(
        argv, check=True, stdout=subprocess.PIPE, text=True, cwd="/", env=os.environ | environment
    ).stdout


if __name__ == "__main__":
    main()
