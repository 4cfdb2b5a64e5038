"""Run the protocol's conformance suite against a site, and read what it found."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from memory_site.settings import BASE_DIR
from tests.mcp_conformance.key_proxy import proxy_with_key
from tests.mcp_conformance.not_offered import EMPTY, NOT_OFFERED, NOT_OFFERED_CHECKS, PASSED_FOR_NOTHING

NODE_MODULES = BASE_DIR / ".cache/node/node_modules"
NODE, PROGRAM = NODE_MODULES / ".bin/node", NODE_MODULES / "@modelcontextprotocol/conformance/dist/index.js"
#: Of a scenario; on a busy machine the suite's own half a minute may pass.
TIMEOUT_MILLISECONDS = 120_000
#: The newest revision of either era: each run has the scenarios that the revision demands, and those beside it.
REVISIONS = ("2025-11-25", "2026-07-28")
PASSED, FAILED, NOT_APPLICABLE = "passed", "failed", "not applicable"
SCENARIO = re.compile(r"server-(.+)-20\d\d-\d\d-\d\dT.*")


@dataclass(frozen=True)
class Outcome:
    """What became of a scenario, with the numbers of its checks; `reason` why it is not applicable, or what failed."""

    revision: str
    scenario: str
    status: str
    passed: int
    failed: int
    reason: str


def is_installed() -> bool:
    return NODE.exists() and PROGRAM.exists()


def run_suite(site: str, key: str, revision: str, path: str = "/mcp") -> list[Outcome]:
    """Run every scenario of a revision."""
    with proxy_with_key(site, key) as address, tempfile.TemporaryDirectory() as directory:
        argv = [NODE, PROGRAM, "server", "--url", address + path, "--requirements", revision, "-o", directory]
        argv += ["--timeout", str(TIMEOUT_MILLISECONDS)]
        subprocess.run(argv, capture_output=True, timeout=300, env=os.environ | {"NO_COLOR": "1"})
        return sorted(read_outcomes(Path(directory), revision), key=lambda outcome: outcome.scenario)


def read_outcomes(directory: Path, revision: str) -> Iterator[Outcome]:
    for file in directory.glob("*/checks.json"):
        found = SCENARIO.fullmatch(file.parent.name)
        assert found, file
        yield judge(revision, found[1], json.loads(file.read_text()))


def judge(revision: str, scenario: str, checks: list[dict]) -> Outcome:
    failures = [check for check in checks if check["status"] == "FAILURE" and check["id"] not in NOT_OFFERED_CHECKS]
    passed = sum(check["status"] == "SUCCESS" for check in checks)
    if failures and scenario in NOT_OFFERED:
        return Outcome(revision, scenario, NOT_APPLICABLE, passed, len(failures), NOT_OFFERED[scenario])
    if failures:
        said = "; ".join(f"{check['id']}: {check.get('errorMessage', '')}" for check in failures)
        return Outcome(revision, scenario, FAILED, passed, len(failures), said)
    if scenario in PASSED_FOR_NOTHING:
        return Outcome(revision, scenario, NOT_APPLICABLE, passed, 0, EMPTY)
    left_out = [NOT_OFFERED_CHECKS[check["id"]] for check in checks if check["status"] == "FAILURE"]
    if not passed:
        return Outcome(revision, scenario, NOT_APPLICABLE, 0, 0, "tests sessions or streams, which there are none of")
    reason = f"{len(left_out)} checks left out: {left_out[0]}" if left_out else ""
    return Outcome(revision, scenario, PASSED, passed, 0, reason)
