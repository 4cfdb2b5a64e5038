"""The text of the search statement, so that a review sees every change of it.

After an intended change, write the file again: `UPDATE_STATEMENTS=1 pytest tests/memories/test_search_statement.py`.
"""

import os
from pathlib import Path

from memories.search.execute import HIT_COLUMNS, build_scope
from memories.search.filters import Filters
from memories.search.query import Search
from memories.search.statement import build_statement

SNAPSHOT = Path(__file__).with_name("search_statement.sql")


def test_hybrid_search_statement_matches_its_snapshot():
    scope = build_scope(1, Filters(user_id="ada"), "hashing-1")
    search = Search("harbour cats", [1.0] + [0.0] * 767, "hashing-1", limit=10)
    text, parameters = build_statement(scope, search, HIT_COLUMNS, size=None)
    if os.environ.get("UPDATE_STATEMENTS"):
        SNAPSHOT.write_text(f"{text}\n")
    assert f"{text}\n" == SNAPSHOT.read_text()
    assert parameters | {"vector": None} == {
        **{
            "m0": "superseded",
            "m1": "pending",
            "m2": "quarantined",
            "m3": 1,
            "m4": "ada",
            "v0": "hashing-1",
            "v1": 1,
            "v2": "ada",
        },
        **{
            "namespace": 1,
            "query": "harbour cats",
            "names": "",
            "required": None,
            "excluded": [],
            "written": [],
            "vector": None,
            "depth": 50,
            "limit": 10,
        },
        **{"threshold": None, "rows": None, "few": None, "noise_mean": 0.12, "noise_spread": 0.07},
        "certain_similarity": 1.0,
    }
