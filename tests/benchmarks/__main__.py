"""`make bench`: what our layers cost above the same SQL through psycopg, and what the index finds of the truth.

Three arms take turns in one run: raw (the same SQL through psycopg), service (our function), http (a request to the
real web server). Times on a shared machine are noise; their ratios are not.
"""

import argparse
import os
import tempfile
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rows", type=int, default=20_000, help="memories to load (default: %(default)s)")
parser.add_argument("--rounds", type=int, default=150, help="calls of each arm (default: %(default)s)")
parser.add_argument("--searches", type=int, default=60, help="searches for each recall figure (default: %(default)s)")
parser.add_argument("--imported", type=int, default=5_000, help="memories to import (default: %(default)s)")
parser.add_argument("--texts", type=int, default=800, help="texts for the embedding figure (default: %(default)s)")
arguments = parser.parse_args()

with tempfile.TemporaryDirectory(prefix="memory-site-bench-") as directory:
    os.environ |= {"DATA_DIR": str(Path(directory) / "data"), "DJANGO_SETTINGS_MODULE": "memory_site.settings"}
    from tests.benchmarks.run import run_benchmarks

    run_benchmarks(arguments)
