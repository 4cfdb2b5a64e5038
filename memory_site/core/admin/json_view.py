"""JSON as a tree that folds without a script; `json_view.js` adds search, copying and folding of the whole tree."""

import json
from typing import Any

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

#: Containers to this depth are open, and all of them in a small tree.
OPEN_DEPTH, SMALL_TREE = 2, 40
#: A tree has at most so many nodes, and so many children of one node; what is left is shown as indented text.
MAX_NODES, MAX_CHILDREN = 2_000, 500
#: A longer string, in characters or lines, folds, with so many characters as its beginning.
MAX_UNFOLDED_STRING, MAX_UNFOLDED_LINES, STRING_PREVIEW = 400, 12, 160

VIEW_HTML = """<div class="json-view" data-json-view>
<div class="json-tools" hidden>
<input type="search" class="json-search" placeholder="Find keys and values" aria-label="Find in this JSON">
<span class="json-found" role="status"></span>
<button type="button" data-json="unfold">Unfold all</button>
<button type="button" data-json="fold">Fold all</button>
<button type="button" data-json="copy">Copy</button>
</div>
<div class="json-tree" tabindex="0">{}</div><textarea class="json-source" hidden readonly>{}</textarea></div>"""
NODE_HTML = """<details class="json-node"{}><summary>{}<span class="json-count">{}</span></summary>
<div class="json-children">{}</div></details>"""
LEAF_HTML = '<div class="json-leaf">{}{}</div>'
KEY_HTML = '<span class="json-key">{}</span><span class="json-colon">: </span>'
SCALAR_HTML = '<span class="json-{}">{}</span>'
LONG_STRING_HTML = """<details class="json-long"><summary><span class="json-string json-beginning">{} …</span>
<span class="json-more">all {} characters</span></summary><span class="json-string">{}</span></details>"""
REST_HTML = '<pre class="json-rest">{}</pre>'


def render_json(value: Any) -> SafeString:
    """Render any JSON value as a folding tree, with its indented text for copying."""
    text = dump(value)
    return format_html(VIEW_HTML, Tree(text.count("\n") <= SMALL_TREE).render(value, None, 0), text)


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2, default=str)


class Tree:
    """Renders nodes while there is room for them."""

    def __init__(self, is_small: bool) -> None:
        self.is_small, self.nodes = is_small, 0

    def render(self, value: Any, key: str | int | None, depth: int) -> SafeString:
        self.nodes += 1
        label = "" if key is None else format_html(KEY_HTML, key)
        if isinstance(value, dict | list) and value:
            return self._render_container(value, label, depth)
        return format_html(LEAF_HTML, label, render_scalar(value))

    def _render_container(self, value: dict | list, label: str, depth: int) -> SafeString:
        is_object = isinstance(value, dict)
        pairs = list(value.items() if is_object else enumerate(value))
        count = f"{{{len(pairs)}}}" if is_object else f"[{len(pairs)}]"
        is_open = " open" if self.is_small or depth < OPEN_DEPTH else ""
        return format_html(NODE_HTML, is_open, label, count, self._render_children(value, pairs, depth))

    def _render_children(self, value: dict | list, pairs: list[tuple], depth: int) -> SafeString:
        if self.nodes + len(pairs) > MAX_NODES or len(pairs) > MAX_CHILDREN:
            return format_html(REST_HTML, dump(value))
        return format_html_join("", "{}", ((self.render(child, key, depth + 1),) for key, child in pairs))


def render_scalar(value: Any) -> SafeString:
    """Render a string as it reads, with its line breaks; anything else as JSON writes it."""
    if not isinstance(value, str):
        kind = "null" if value is None else "boolean" if isinstance(value, bool) else "number"
        return format_html(SCALAR_HTML, kind, json.dumps(value, default=str))
    if len(value) > MAX_UNFOLDED_STRING or value.count("\n") > MAX_UNFOLDED_LINES:
        return format_html(LONG_STRING_HTML, " ".join(value[:STRING_PREVIEW].split()), len(value), value)
    return format_html(SCALAR_HTML, "string", value or '""')
