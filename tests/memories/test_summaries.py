"""One-line summaries of structured content."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memories.memory_types import MemoryType
from memories.summaries import MAX_SUMMARY_LENGTH, build_summary

DEEP_VALUE: dict = {}
DEEP_VALUE["result"] = {"result": DEEP_VALUE}
KNOWN_KEYS = [
    "name",
    "results",
    "items",
    "total",
    "query",
    "selected",
    "options",
    "action",
    "state",
    "entity_data",
    "tool",
]
JSON_KEYS = st.sampled_from(KNOWN_KEYS) | st.text(max_size=20)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(JSON_KEYS, inner, max_size=5),
    max_leaves=30,
)


@pytest.mark.parametrize(
    ("kind", "data", "line"),
    [
        ("domain_entity", {"entity_data": {"Name": "Acme", "Amount": 250_000}}, "Name Acme, Amount 250000"),
        ("domain_entity", {"status": {"name": "Open"}, "nothing": None}, "status Open"),
        ("search_result", {"query": "acme", "results": [{"Name": "A"}, {"name": "B"}]}, "2 results for “acme”: A; B"),
        ("search_result", {"total": 90, "items": [{"title": "A"}]}, "90 results: A"),
        ("search_result", {"results": []}, "0 results"),
        ("user_selection", {"selected": {"name": "Acme"}, "options": [1, 2, 3]}, "chose Acme of 3"),
        ("completed_action", {"action": "update", "target": "Acme", "result": "done"}, "update Acme: done"),
        ("tool_output", {"tool": "crm", "result": {"records": [{"Name": "A"}]}}, "crm: 1 result A"),
        ("tool_output", {"tool": "crm", "error": "timed\nout"}, "crm: failed, timed out"),
        ("conversation_fact", {"subject": "Ada", "predicate": "likes", "object": "tea"}, "Ada likes tea"),
        ("conversation_fact", {"fact": "Ada likes tea"}, "Ada likes tea"),
        ("temporary_state", {"state": {"step": 3, "done": False}}, "step 3, done no"),
        ("agent", {"a": [1, 2], "b": {"c": 1}}, "a 2 items"),
        ("agent", {}, "agent"),
        ("tool_output", [1, 2], "2 results 1; 2"),
        ("unheard_of", None, "unheard of"),
        ("", None, "nothing"),
    ],
    ids=str,
)
def test_summary_of_each_type(kind, data, line):
    assert build_summary(kind, data) == line


def test_title_comes_first():
    assert build_summary("domain_entity", {"Amount": 5}, "Opportunity Big") == "Opportunity Big: Amount 5"
    assert build_summary("domain_entity", {}, "Opportunity Big") == "Opportunity Big"


def is_one_line(line: str) -> bool:
    return (
        0 < len(line) <= MAX_SUMMARY_LENGTH
        and len(line.splitlines()) == 1
        and "\0" not in line
        and line.encode() is not None
    )


@given(kind=st.sampled_from([*map(str, MemoryType), "other"]), data=JSON_VALUES, title=st.text(max_size=300))
def test_summary_is_always_one_line(kind, data, title):
    assert is_one_line(build_summary(kind, data, title))


ODD_VALUES = [
    DEEP_VALUE,
    {"result": 10**5000},
    {1: 2, None: [], (1, 2): {}},
    {"a": object()},
    {"name": "\ud800\0\u2028\x85b"},
    object(),
    {str(n): n for n in range(100_000)},
    {"results": ["x" * 10**6] * 3},
    float("nan"),
    b"bytes",
    {"items": ({},)},
]


@pytest.mark.parametrize("kind", list(MemoryType))
@pytest.mark.parametrize("data", ODD_VALUES, ids=lambda data: type(data).__name__)
def test_odd_values_do_not_fail(kind, data):
    assert is_one_line(build_summary(kind, data))
