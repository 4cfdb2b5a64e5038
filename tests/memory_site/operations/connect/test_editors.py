"""Changes within a text: one member, and nothing else."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory_site.operations.connect.errors import ConfigurationError
from memory_site.operations.connect.json_editor import JsonEditor
from memory_site.operations.connect.json_reader import read_json
from memory_site.operations.connect.toml_editor import TomlEditor

PATH = ("mcpServers", "memory")
ENTRY = {"url": "http://127.0.0.1:8000/mcp", "headers": {"Authorization": "Bearer x"}}

COMMENTED = """\
// Mine.
{
    "mcpServers": {
        /* The other one. */
        "files": {"command": "npx", "args": ["a", "b",],}, // keep
        // the end
    },
    "unknown": [1.50, 1e3], "ünïcode": "\\u00e9",
}
"""
COMMENTED_AFTER = """\
// Mine.
{
    "mcpServers": {
        /* The other one. */
        "files": {"command": "npx", "args": ["a", "b",],}, // keep
        // the end
        "memory": {
            "url": "http://127.0.0.1:8000/mcp",
            "headers": {
                "Authorization": "Bearer x"
            }
        }
    },
    "unknown": [1.50, 1e3], "ünïcode": "\\u00e9",
}
"""


def set_json(text: str, value: object = ENTRY, path: tuple[str, ...] = PATH, *, comments: bool = False) -> str:
    editor = JsonEditor(text, comments=comments)
    editor.set(path, value)
    return editor.text


def test_entry_is_written_below_others_and_nothing_else_changes():
    assert set_json(COMMENTED, comments=True) == COMMENTED_AFTER


def test_comma_goes_before_a_comment():
    text = '{\n  "a": 1 // one\n}\n'
    assert set_json(text, 2, ("b",), comments=True) == '{\n  "a": 1, // one\n  "b": 2\n}\n'


@pytest.mark.parametrize("text", ["", " \n", "{}", "{\n}", '{"mcpServers": {}}', '{"mcpServers":{\n}}'])
def test_missing_objects_are_made(text):
    assert json.loads(set_json(text)) == {"mcpServers": {"memory": ENTRY}}


def test_line_endings_and_tabs_are_kept():
    after = set_json('{\r\n\t"a": 1\r\n}\r\n', {"b": 1}, ("memory",))
    assert after == '{\r\n\t"a": 1,\r\n\t"memory": {\r\n\t\t"b": 1\r\n\t}\r\n}\r\n'


def test_existing_value_is_replaced_in_its_place():
    text = '{"mcpServers": {"memory": {"url": "old"}, "z": {}}, "b": 1}'
    assert json.loads(set_json(text)) == {"mcpServers": {"memory": ENTRY, "z": {}}, "b": 1}
    assert set_json(set_json(text)) == set_json(text)


REMOVALS = {
    "first": ('{\n  "m": {\n    "memory": 1,\n    "b": 2\n  }\n}', '{\n  "m": {\n    "b": 2\n  }\n}'),
    "last": ('{\n  "m": {\n    "b": 2,\n    "memory": 1\n  }\n}', '{\n  "m": {\n    "b": 2\n  }\n}'),
    "only": ('{"m": {"memory": 1}}', '{"m": {}}'),
    "trailing-comma": ('{"m": {"b": 2, "memory": 1,}}', '{"m": {"b": 2}}'),
    "comment-of-next": ('{"m": {"memory": 1,\n  // two\n  "b": 2}}', '{"m": {// two\n  "b": 2}}'),
    "missing": ('{"m": {"b": 2}}', '{"m": {"b": 2}}'),
    "no-parent": ("{}", "{}"),
}


@pytest.mark.parametrize("name", REMOVALS)
def test_member_is_removed_with_its_comma(name):
    text, after = REMOVALS[name]
    editor = JsonEditor(text, comments=True)
    editor.remove(("m", "memory"))
    assert editor.text == after


def test_item_is_appended_and_comments_stay():
    editor = JsonEditor('{"inputs": [\n  // a\n  {"id": "a"}\n]}', comments=True)
    editor.append(("inputs",), {"id": "b"})
    assert editor.get(("inputs",)) == [{"id": "a"}, {"id": "b"}]
    assert "// a" in editor.text


BROKEN = {
    "no-comma": ('{\n  "a": 1\n  "b": 2\n}', "line 3, column 3"),
    "unclosed": ('{"a": {', "line 1, column 8"),
    "two-values": ("{}\n{}", "line 2, column 1"),
    "comment": ('{\n  // mine\n  "a": 1\n}', "line 2, column 3: this client allows no comments"),
    "last-comma": ('{"a": 1,\n}', "line 1, column 8"),
    "twice": ('{"a": 1, "a": 2}', "line 1, column 10"),
    "not-a-number": ('{"a": NaN}', "line 1, column 7"),
    "string": ('{"a": "b\n"}', "line 1, column 9"),
    "single-quotes": ("{'a': 1}", "line 1, column 2"),
    "array": ("[]", "line 1, column 1"),
    "deep": ("[" * 100_000, "nested too deeply"),
    "byte-order-mark": ("\ufeff{", "line 1, column 1"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_text_is_refused_with_its_place(name):
    text, place = BROKEN[name]
    with pytest.raises(ConfigurationError, match=place):
        JsonEditor(text, comments=False)


def test_parent_that_is_no_object_is_refused():
    with pytest.raises(ConfigurationError, match="mcpServers is not an object"):
        set_json('{"mcpServers": []}')


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([None, 2, "\t"]), st.booleans())
def test_any_json_is_read_as_python_reads_it(value, indent, ascii):
    text = json.dumps(value, indent=indent, ensure_ascii=ascii)
    assert read_json(text, comments=False).value == value
    assert read_json(text, comments=True).value == value


@given(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), VALUES, st.sampled_from([None, 2, "\t"]))
def test_setting_and_removing_leave_the_rest(document, value, indent):
    document = {name: item for name, item in document.items() if name != "memory"}
    editor = JsonEditor(json.dumps(document, indent=indent), comments=False)
    editor.set(("memory",), value)
    assert json.loads(editor.text) == document | {"memory": value}
    editor.remove(("memory",))
    assert json.loads(editor.text) == document


TOML = """\
# Mine.
model = "o3"   # the best

[mcp_servers.files]  # another one
command = "npx"
args = ["a"]

[profiles.fast]
model = "mini"
"""


def set_toml(text: str, value: dict = ENTRY) -> str:
    editor = TomlEditor(text)
    editor.set(("mcp_servers", "memory"), value)
    return editor.text


def test_table_is_written_and_the_rest_is_kept_letter_for_letter():
    after = set_toml(TOML)
    assert tomllib.loads(after) == tomllib.loads(TOML) | {
        "mcp_servers": {"files": {"command": "npx", "args": ["a"]}, "memory": ENTRY}
    }
    assert [line for line in TOML.splitlines() if line not in after.splitlines()] == []
    assert set_toml(after) == after
    editor = TomlEditor(after)
    editor.remove(("mcp_servers", "memory"))
    assert editor.text.split() == TOML.split()


FORMS = {
    "empty": "",
    "no-servers": 'model = "o3"',
    "header-of-all": '[mcp_servers]\n[mcp_servers.files]\ncommand = "npx"\n',
    "apart": '[mcp_servers.a]\nurl = "a"\n[other]\nb = 1\n[mcp_servers.c]\nurl = "c"\n',
    "quoted": '[ mcp_servers . "memory" ]\nurl = "old"\n\n# of x\n[x]\ny = [\n  1,\n]\n',
    "table-of-tables": '[mcp_servers.memory]\nurl = "old"\n[mcp_servers.memory.http_headers]\nA = "b"\n[x]\ny = 1\n',
    "windows": 'model = "o3"\r\n[mcp_servers.memory]\r\nurl = "old"\r\n',
    "lines-like-headers": 'text = """\n[other]\n"""\n',
}


@pytest.mark.parametrize("form", FORMS)
def test_usual_ways_to_write_tables_are_understood(form):
    before = tomllib.loads(FORMS[form])
    servers = before.get("mcp_servers", {}) | {"memory": ENTRY}
    after = set_toml(FORMS[form])
    assert tomllib.loads(after) == before | {"mcp_servers": servers}
    assert set_toml(after) == after
    assert after.count("#") == FORMS[form].count("#")


ODD_FORMS = {
    "inline": 'mcp_servers = { files = { command = "npx" } }\n',
    "inline-entry": '[mcp_servers]\nmemory = { url = "old" }\n',
    "dotted": 'mcp_servers.memory.url = "old"\n',
    "lines-like-ours": '[mcp_servers.memory]\ntext = """\n[other]\n"""\nurl = "a"\n',
}


@pytest.mark.parametrize("form", ODD_FORMS)
def test_other_ways_are_refused_rather_than_broken(form):
    with pytest.raises(ConfigurationError, match="by hand"):
        set_toml(ODD_FORMS[form])


def test_odd_names_and_values_are_written():
    value = {"a b": 'x"\\\n\x7f\u2028é😀', "n": [1, 2.5, True, {"ü": ""}]}
    assert tomllib.loads(set_toml("", value))["mcp_servers"]["memory"] == value


@pytest.mark.parametrize(
    ("text", "place"),
    [('a = 1\nb = "x\n', "line 2, column 7"), ("mcp_servers = 3\n", "not a table"), ("a = 1\na = 2\n", "line 2")],
)
def test_broken_toml_is_refused(text, place):
    with pytest.raises(ConfigurationError, match=place):
        set_toml(text)


@pytest.mark.parametrize("value", ["1" * 5_000, "[" * 5_000], ids=["long", "deep"])
def test_toml_that_cannot_be_read_is_refused(value):
    with pytest.raises(ConfigurationError, match="too long, or values are nested too deeply"):
        set_toml(f"a = {value}")
