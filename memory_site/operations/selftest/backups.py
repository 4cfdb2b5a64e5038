"""Makes backups of a scratch site, kills and damages them, restores one, and looks at what is found and is back."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic_core import from_json

from memory_site.operations.selftest.report import Finding
from memory_site.operations.selftest.scratch_site import (
    MANAGE,
    ScratchSite,
    SiteFailed,
    build_environment,
    run_manage,
    run_scratch_site,
    wait_until,
)

OnStep = Callable[[str], None]
MEMORIES, MEMORIES_SHORT = 5_000, 300
BULK = 100
FLIPS, FLIPS_SHORT = 40, 3
#: Shares of a backup's time at which it is killed.
KILLS, KILLS_SHORT = (0.1, 0.5, 0.99), (0.5,)
ERASED_USER = "erased"
EXIT_BAD = 3
RECOVERY_TIMEOUT_SECONDS = 60.0
SELECT_CONTENTS_SQL = "SELECT user_id, content FROM memories_memory"


def run_backups(short: bool, on_step: OnStep) -> Iterator[Finding]:
    """Yield the findings: a backup is made and verified, killed, damaged, and restored."""
    on_step("Starting a scratch site")
    with run_scratch_site() as site:
        on_step("Storing memories")
        contents = store_memories(site, MEMORIES_SHORT if short else MEMORIES)
        trials = BackupTrials(site, on_step)
        yield trials.make_and_verify()
        for share in KILLS_SHORT if short else KILLS:
            yield trials.kill_backup(share)
        yield trials.flip_bits(FLIPS_SHORT if short else FLIPS)
        yield trials.restore(contents)


def store_memories(site: ScratchSite, count: int) -> set[str]:
    """Store memories, a tenth of them of a user who will be erased. Return the contents of the others."""
    contents = [f"backup trial number {number}" for number in range(count)]
    for start in range(0, count, BULK):
        chunk = contents[start : start + BULK]
        items = [{"content": text, "user_id": ERASED_USER if text.endswith("7") else "kept"} for text in chunk]
        response = site.call("POST", "/memories/bulk", {"memories": items})
        if response.status != 201:
            raise SiteFailed(f"Storing answers {response.status}.")
    return {text for text in contents if not text.endswith("7")}


class BackupTrials:
    """Trials on one site, in this order."""

    def __init__(self, site: ScratchSite, on_step: OnStep) -> None:
        self.site, self.on_step = site, on_step
        self.seconds = 0.0
        self.path = Path()

    def manage(self, *arguments: str) -> subprocess.CompletedProcess:
        return run_manage(*arguments, **self.site.environment)

    def make_and_verify(self) -> Finding:
        """Make a backup, which the other trials use, and verify it."""
        self.on_step("Making and verifying a backup")
        started = time.monotonic()
        made = self.manage("backup")
        self.seconds = time.monotonic() - started
        if made.returncode:
            raise SiteFailed(made.stderr)
        self.path = Path(made.stdout.strip())
        verified = self.manage("verify_backup", self.path.stem)
        seconds = time.monotonic() - started
        return Finding(
            "a backup is verified", 1, wrong=int(verified.returncode != 0), seconds=seconds, note=verified.stdout
        )

    def kill_backup(self, share: float) -> Finding:
        """Kill a backup; what it leaves must not count as one, and the next one must succeed."""
        self.on_step(f"Killing a backup at {share:.0%}")
        started = time.monotonic()
        before = self.list_states()
        kill_after(share * self.seconds, "backup", environment=self.site.environment)
        left = {name: state for name, state in self.list_states().items() if name not in before}
        # One that was complete before the kill is a good one.
        broken = [name for name in left if self.manage("verify_backup", name).returncode]
        again = self.manage("backup")
        wrong = len(broken) + bool(again.returncode)
        note = "; ".join([*broken, again.stderr if again.returncode else ""])
        return Finding(
            f"a backup is killed at {share:.0%}", 1, wrong=wrong, seconds=time.monotonic() - started, note=note
        )

    def list_states(self) -> dict[str, str]:
        """Return the states of what counts as a backup, by name."""
        listed = self.manage("list_backups", "--format", "json")
        rows = {row["name"]: row["state"] for row in from_json(listed.stdout)}
        return {name: state for name, state in rows.items() if state in ("written", "verified")}

    def flip_bits(self, count: int) -> Finding:
        """Flip single bits of the dump and of its manifest; each must be found, with the name of the file."""
        self.on_step(f"Flipping {count} bits of the dump, and one of its manifest")
        started = time.monotonic()
        places = [self.path] * count + [self.path.with_suffix(".json")]
        missed = [file.name for file in places if not self.is_flip_found(file)]
        seconds = time.monotonic() - started
        return Finding("bits are flipped", len(places), wrong=len(missed), seconds=seconds, note=", ".join(missed))

    def is_flip_found(self, file: Path) -> bool:
        with flipped_bit(file), preserved(self.path.with_suffix(".json")):
            verified = self.manage("verify_backup", self.path.stem)
        return verified.returncode == EXIT_BAD and file.name in verified.stdout + verified.stderr

    def restore(self, contents: set[str]) -> Finding:
        """Erase a user, delete everything, restore: the rows are back, and what was erased is not."""
        self.on_step("Restoring it after an erasure and a mass deletion")
        self.site.call("DELETE", f"/users/{ERASED_USER}")
        self.site.call("POST", "/memories/delete", {"filters": {"user_id": "kept"}})
        started = time.monotonic()
        restored = self.manage("restore", self.path.stem, "--replace", "memory")
        if restored.returncode:
            return Finding("a backup is restored", 1, wrong=1, note=restored.stderr.strip().splitlines()[-1])
        wait_until(
            lambda: self.site.call("GET", "/summary").status == 200, RECOVERY_TIMEOUT_SECONDS, "the site answers"
        )
        seconds = time.monotonic() - started
        rows = self.site.rows(SELECT_CONTENTS_SQL)
        lost = len(contents - {content for _, content in rows})
        leak = sum(user == ERASED_USER for user, _ in rows)
        return Finding("a backup is restored", len(contents), lost, leak=leak, seconds=seconds)

    def answers(self) -> bool:
        return self.site.call("GET", "/summary").status == 200


def kill_after(seconds: float, *arguments: str, environment: dict[str, str]) -> None:
    """Start a command and kill it after some seconds, unless it has ended."""
    process = subprocess.Popen(  # noqa: S603  (this program)
        [sys.executable, str(MANAGE), *arguments],
        env=build_environment(**environment),
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextmanager
def flipped_bit(file: Path) -> Iterator[None]:
    """Flip one bit of a file at a random place inside the block."""
    with preserved(file):
        content = bytearray(file.read_bytes())
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)  # noqa: S311  (no secret)
        file.write_bytes(content)
        yield


@contextmanager
def preserved(file: Path) -> Iterator[None]:
    """Put the content of a file back at the end of the block."""
    content = file.read_bytes()
    try:
        yield
    finally:
        file.write_bytes(content)
