"""The statements of recall and retrieval as stored beside this file.

They show how the SQL of a ranking depends on the names of the search (see memories/search/__init__.py). After a wanted
change, store them with `UPDATE_STATEMENTS=1 pytest tests/memories/retrieval/test_statements.py` and read the diff.
"""

import os
from pathlib import Path
from uuid import UUID

import pytest
from pgvector import HalfVector

from memories.retrieval.recall import RECALL_RANKING
from memories.retrieval.retrieve import RetrievalFilters, build_ranking
from memories.search.execute import build_scope
from memories.search.floor import Floor
from memories.search.query import Ranking, Search
from memories.search.statement import build_statement

pytestmark = pytest.mark.django_db
VECTOR = [1.0] + [0.0] * 767
ANCHOR = UUID(int=1)


def create_retrieval_ranking() -> Ranking:
    return Floor(0.25, [HalfVector(VECTOR)] * 2).apply(build_ranking(1, "ada", [ANCHOR]), by_words=True)


@pytest.mark.parametrize(
    ("name", "create_ranking"),
    [
        ("recall", lambda: RECALL_RANKING),
        ("retrieval", create_retrieval_ranking),
    ],
)
def test_the_statement_is_the_stored_one(name, create_ranking):
    search = Search("tea", VECTOR, "hashing-1", limit=10, ranking=create_ranking())
    scope = build_scope(1, RetrievalFilters(user_id="ada", excluded_tags=["old"]), "hashing-1")
    statement, _ = build_statement(scope, search, "memory.*", None)
    path = Path(__file__).with_name(f"statement_of_{name}.sql")
    if os.environ.get("UPDATE_STATEMENTS"):
        path.write_text(f"{statement}\n")
    assert f"{statement}\n" == path.read_text()
