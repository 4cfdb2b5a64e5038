"""`make peers`: this product beside others. Same PostgreSQL, rows, vectors and filters; no embedding model runs.

A peer that is not installed is left out. `make peers` installs them into environments of their own, never into that
of the product.
"""

import argparse
import os
import tempfile
from pathlib import Path

import django

ENVIRONMENTS = Path(__file__).resolve().parents[3] / ".cache" / "peers"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rows", type=int, default=10_000, help="rows of each peer (default: %(default)s)")
parser.add_argument("--singly", type=int, default=200, help="rows written one by one (default: %(default)s)")
parser.add_argument("--searches", type=int, default=60, help="for each filter (default: %(default)s)")
parser.add_argument("--peers", default="", help="only these, by name, with commas between")
parser.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="where peers are installed (%(default)s)")
parser.add_argument(
    "--extensions", type=Path, help="a PostgreSQL 18 with pg_trgm, which Hindsight needs and the wheel lacks"
)
arguments = parser.parse_args()

with tempfile.TemporaryDirectory(prefix="memory-site-peers-") as directory:
    os.environ |= {"DATA_DIR": str(Path(directory) / "data"), "DJANGO_SETTINGS_MODULE": "memory_site.settings"}
    django.setup()
    from tests.benchmarks.peers.run import compare

    compare(arguments, Path(directory))
