"""JSON in the console as a tree."""

import json
import re
from html import unescape

import pytest

from memory_site.core.admin.folding import render_text
from memory_site.core.admin.json_view import MAX_NODES, render_json

VALUES = [
    {"city": "Kraków", "parts": [1, 2.5, {"open": True, "none": None}], "empty": {}, "list": [], "text": ""},
    [1, "two", None],
    "only text",
    None,
    {"</textarea><script>": "<b>&amp;"},
]


def read_source(html: str) -> object:
    return json.loads(unescape(re.search(r'<textarea class="json-source"[^>]*>(.*?)</textarea>', html, re.S)[1]))


@pytest.mark.parametrize("value", VALUES, ids=range(len(VALUES)))
def test_source_to_copy_is_the_value(value):
    assert read_source(render_json(value)) == value


@pytest.mark.parametrize("text", ["Kraków", "2.5", "true", "null", "only text", "&lt;b&gt;&amp;amp;", "&lt;script&gt;"])
def test_tree_shows_keys_and_values_escaped(text):
    trees = "".join(render_json(value).split('<textarea class="json-source"')[0] for value in VALUES)
    assert text in trees
    assert "<script>" not in trees


def test_small_tree_is_open_and_a_large_one_only_at_the_top():
    def nest(depth: int, leaves: int) -> dict:
        return {"inner": nest(depth - 1, leaves)} if depth else {str(number): number for number in range(leaves)}

    assert render_json(nest(5, 3)).count("<details") == render_json(nest(5, 3)).count('json-node" open') == 6
    assert render_json(nest(5, 100)).count('json-node" open') == 2


def test_long_string_folds_and_is_there_whole():
    html = render_json({"log": "x" * 5_000})
    assert "all 5000 characters" in html
    assert "x" * 5_000 in html.split('<textarea class="json-source"')[0]


@pytest.mark.parametrize("value", [list(range(30_000)), [[1, 2, 3]] * 400 + [[4] * 400] * 40])
def test_huge_values_stay_small_pages(value):
    html = render_json(value)
    assert html.count("json-leaf") + html.count("json-node") <= MAX_NODES
    assert len(html) < 8 * len(json.dumps(value, indent=2))
    assert read_source(html) == value


@pytest.mark.parametrize(("text", "folds"), [("short", False), ("word " * 400, True), ("line\n" * 20, True)])
def test_long_text_folds_and_is_there_whole(text, folds):
    html = render_text(text)
    assert ("<details" in html) == folds
    assert text in html
