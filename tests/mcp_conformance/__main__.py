"""Start a site, run the suite for both eras of the protocol, and print a table of what passed. Exit 1 if one failed."""

import sys
from collections import Counter

from tests.mcp_conformance.suite import FAILED, REVISIONS, is_installed, run_suite
from tests.stack.stack import running_stack


def main() -> int:
    if not is_installed():
        print("The suite is not installed: make .cache/node/installed.done (needs npm).", file=sys.stderr)
        return 2
    with running_stack(EMBEDDER="hashing") as stack:
        outcomes = [each for revision in REVISIONS for each in run_suite(stack.url, stack.key, revision)]
    print("| revision | scenario | outcome | checks passed | why |\n| --- | --- | --- | --- | --- |")
    for each in outcomes:
        print(f"| {each.revision} | {each.scenario} | {each.status} | {each.passed} | {each.reason} |")
    for revision in REVISIONS:
        print(revision, dict(Counter(each.status for each in outcomes if each.revision == revision)))
    return int(any(each.status == FAILED for each in outcomes))


if __name__ == "__main__":
    sys.exit(main())
