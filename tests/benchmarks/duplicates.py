"""`make duplicates`: how well near duplicates are found on labelled pairs, and how long a namespace takes.

The pairs are those of tests/memories/cleanup/pairs.txt. Three rules are compared over the least similarity of a pair:
the similarity alone, that of insights (no other numbers, negations and opposites), and that of the clean-up (word by
word).
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--rows", type=int, default=0, help="memories to look at as well (default: none)")
arguments = parser.parse_args()
folder = tempfile.TemporaryDirectory(prefix="memory-site-duplicates-")
os.environ |= {"DATA_DIR": str(Path(folder.name) / "data"), "DJANGO_SETTINGS_MODULE": "memory_site.settings"}

import django  # noqa: E402

django.setup()

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from memories.cleanup.likeness import MIN_SIMILARITY, Text, is_contained, sort_by_length  # noqa: E402
from memories.insights.claims import contradict  # noqa: E402
from memories.insights.minhash import jaccard_similarity, normalise_text  # noqa: E402
from tests.memories.cleanup.pairs import DUPLICATES, OTHERS, Pair, load_pairs, measure  # noqa: E402

THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
#: Of a namespace: copies of other memories, and texts of one template. The rest are unlike each other.
COPIED, OF_ONE_TEMPLATE = 0.2, 0.2
console = Console(width=120)


def compute_similarity(pair: Pair) -> float:
    return jaccard_similarity(Text.of(pair.one).shingles, Text.of(pair.other).shingles)


def is_same_by_words(pair: Pair) -> bool:
    return is_contained(*sort_by_length(Text.of(pair.one), Text.of(pair.other)))


def claims_the_same(pair: Pair) -> bool:
    return not contradict(normalise_text(pair.one), normalise_text(pair.other))


def print_curve() -> None:
    pairs = load_pairs()
    similarity = {pair: compute_similarity(pair) for pair in pairs}
    rules = {
        "similarity": dict.fromkeys(pairs, True),
        "and claims": {pair: claims_the_same(pair) for pair in pairs},
        "and words": {pair: is_same_by_words(pair) for pair in pairs},
    }
    table = Table(
        title=f"Precision and recall on {len(pairs)} pairs, {sum(p.is_duplicate for p in pairs)} of them alike"
    )
    for column in ("least similarity", *(f"{name}: {figure}" for name in rules for figure in ("precision", "recall"))):
        table.add_column(column, justify="right")
    for threshold in THRESHOLDS:
        near = {pair for pair in pairs if similarity[pair] >= threshold}
        scores = [measure(lambda p, n=near, r=rule: p in n and r[p], pairs) for rule in rules.values()]
        table.add_row(f"{threshold:.2f}", *(f"{figure:.3f}" for score in scores for figure in score))
    console.print(table)
    table = Table("kind", "pairs", "found", title=f"By kind, word by word from {MIN_SIMILARITY}")
    for kind in (*DUPLICATES, *OTHERS):
        own = [pair for pair in pairs if pair.kind == kind]
        found = [pair for pair in own if similarity[pair] >= MIN_SIMILARITY and rules["and words"][pair]]
        table.add_row(kind, str(len(own)), str(len(found)))
    console.print(table)


def print_times(rows: int) -> None:
    from memories.cleanup.grouping import find_duplicates  # noqa: PLC0415  (needs the server's database)
    from memories.cleanup.inspect import inspect  # noqa: PLC0415
    from memories.models import Memory  # noqa: PLC0415
    from sessions_app.models import Namespace  # noqa: PLC0415
    from tests.benchmarks.data import Synthetic  # noqa: PLC0415
    from tests.benchmarks.run import run_server  # noqa: PLC0415

    with run_server():
        namespace = Namespace.objects.create(name="duplicates")
        data = Synthetic(rows)
        texts = [build_text(data, row) for row in range(rows)]
        for start in range(0, rows, 1_000):
            part = texts[start : start + 1_000]
            Memory.objects.bulk_create(
                Memory(namespace=namespace, content=text, source_system="benchmark") for text in part
            )
        ids = list(Memory.objects.order_by("pk").values_list("pk", flat=True))
        began, cpu = time.monotonic(), time.process_time()
        for start in range(0, rows, 500):
            inspect(namespace.pk, ids[start : start + 500])
        console.print(f"looked at {rows:,} memories in {describe(began, cpu)}")
        began, cpu = time.monotonic(), time.process_time()
        found = find_duplicates(namespace.pk)
        console.print(f"compared them in {describe(began, cpu)}: {found:,} duplicates, {int(rows * COPIED):,} made")


def build_text(data, row: int) -> str:
    if row < data.rows * COPIED:
        return f"  {data.content(data.rows - 1 - row).upper()}!"
    if row < data.rows * (COPIED + OF_ONE_TEMPLATE):
        return f"Build number {row} of the shop failed in the step integration tests."
    return data.content(row)


def describe(began: float, cpu: float) -> str:
    return f"{time.monotonic() - began:.0f} s ({time.process_time() - cpu:.0f} s of CPU here)"


with folder:
    print_curve()
    if arguments.rows:
        print_times(arguments.rows)
