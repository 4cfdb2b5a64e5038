"""`make growth`: how the cost of operations and the recall of searches change as a namespace grows, among others.

One process for each size, with a database and a web server of its own; they take turns, so a busy machine slows all
sizes alike. The rows stay in the data directory: an interrupted run continues, and a second one loads nothing.
"""

import argparse
import sys
from pathlib import Path

from rich.console import Console

from tests.benchmarks.growth.report import build_operation_table, build_recall_table
from tests.benchmarks.growth.turns import measure_operations, measure_recalls, open_sizes
from tests.benchmarks.processes import ProcessEnded

DIRECTORY = Path(__file__).resolve().parents[3] / ".cache" / "growth"


def parse_sizes(text: str) -> list[int]:
    sizes = sorted({int(part) for part in text.split(",")})
    if not all(rows >= 1000 and rows % 1000 == 0 for rows in sizes):
        raise argparse.ArgumentTypeError("each size is a number of thousands, such as 10000,100000")
    return sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=parse_sizes, default="10000,100000,1000000", help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=150, help="calls of each arm (default: %(default)s)")
    parser.add_argument("--searches", type=int, default=60, help="for each recall figure (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=DIRECTORY, help="keeps the rows (default: %(default)s)")
    arguments = parser.parse_args()
    console = Console(width=160)
    with open_sizes(arguments.rows, arguments.data) as sizes:
        console.print(build_recall_table(measure_recalls(sizes, arguments.searches), arguments.searches))
        console.print(build_operation_table(measure_operations(sizes, arguments.rounds), arguments.rounds))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. Run it again to continue.")
    except ProcessEnded:
        sys.exit("The process of one size ended; its error stands above.")
