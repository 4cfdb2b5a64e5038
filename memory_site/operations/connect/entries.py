"""The entry of one MCP server within a client's file."""

import json
import re
from typing import Any

from memory_site.operations.connect.clients import (
    INPUT_DESCRIPTION,
    KEY_HEADER,
    OUR_VARIABLES,
    PROJECT_HEADER,
    PROMPT,
    Client,
    Server,
    build_input,
    get_input_id,
)
from memory_site.operations.connect.errors import ConfigurationError
from memory_site.operations.connect.json_editor import JsonEditor
from memory_site.operations.connect.toml_editor import TomlEditor

Entry = dict[str, Any]
TOKEN = re.compile(r"mem_[0-9a-f]{16}_[\w-]{43}", re.ASCII)
#: How clients name the variable that holds the key.
VARIABLE = re.compile(r'Bearer \$\{(?:env:)?(\w+)\}|"bearer_token_env_var": "(\w+)"')
#: What an entry has of us; whatever else the user has added to it stays.
OUR_FIELDS = frozenset({"type", "url", "serverUrl", "command", "args", "bearer_token_env_var"})
OUR_NESTED_FIELDS = {
    "headers": (KEY_HEADER, PROJECT_HEADER),
    "http_headers": (KEY_HEADER, PROJECT_HEADER),
    "env": OUR_VARIABLES,
}


def open_editor(client: Client, text: str) -> JsonEditor | TomlEditor:
    """Return the editor of the client's format. Raise ConfigurationError for a broken text."""
    if client.format == "toml":
        return TomlEditor(text)
    return JsonEditor(text, comments=client.format == "jsonc")


def read_entries(client: Client, text: str) -> dict[str, Entry]:
    """Return all entries of the file by name. Raise ConfigurationError if the file has something else there."""
    found = open_editor(client, text).get((client.parent,))
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(entry, dict) for entry in found.values()):
        raise ConfigurationError(f"{client.parent} does not hold servers by name")
    return found


def write_entry(client: Client, text: str, server: Server, place: str) -> str:
    """Return the text with the server's entry, and with everything else as it was."""
    editor = open_editor(client, text)
    path = (client.parent, server.name)
    entry = merge_entry(editor.get(path), client.build_entry(server, place))
    if entry != editor.get(path):
        editor.set(path, entry)
    if place == PROMPT and isinstance(editor, JsonEditor):
        add_input(editor, server)
    return editor.text


def add_input(editor: JsonEditor, server: Server) -> None:
    """Let VS Code ask for the key, unless it does already."""
    wanted = build_input(server)
    inputs = editor.get(("inputs",)) or []
    if not any(isinstance(each, dict) and each.get("id") == wanted["id"] for each in inputs):
        editor.append(("inputs",), wanted)


def remove_entry(client: Client, text: str, server: Server) -> str:
    """Return the text without the server's entry, and without the question for its key if no other entry asks it."""
    editor = open_editor(client, text)
    editor.remove((client.parent, server.name))
    if PROMPT in client.key_places and isinstance(editor, JsonEditor):
        remove_input(editor, server)
    return editor.text


def remove_input(editor: JsonEditor, server: Server) -> None:
    """Remove what add_input has added, the array too if nothing is left in it. A question of the user's own stays."""
    inputs = editor.get(("inputs",))
    place = find_input(inputs, server) if isinstance(inputs, list) else None
    if place is None or f"${{input:{get_input_id(server)}}}" in json.dumps(editor.root.value):
        return
    editor.remove(("inputs",) if len(inputs) == 1 else ("inputs", place))


def find_input(inputs: list[Any], server: Server) -> int | None:
    """Return the place of our question, whichever site it names."""
    for place, found in enumerate(inputs):
        said = str(found.get("description")) if isinstance(found, dict) else ""
        if said.startswith(INPUT_DESCRIPTION) and found == build_input(server) | {"description": said}:
            return place
    return None


def merge_entry(existing: Entry | None, ours: Entry) -> Entry:
    """Return our entry with what the user has added to the existing one, in the existing order."""
    merged = {name: strip_ours(name, value) for name, value in (existing or {}).items() if name not in OUR_FIELDS}
    order = [*(existing or {}), *(name for name in ours if name not in (existing or {}))]
    whole = {
        name: {**merged.get(name, {}), **value} if isinstance(value, dict) else value for name, value in ours.items()
    }
    whole = {name: value for name, value in merged.items() if value != {} or name not in OUR_NESTED_FIELDS} | whole
    return {name: whole[name] for name in order if name in whole}


def strip_ours(name: str, value: Any) -> Any:
    """Return a field of an entry without what we have written into it. Raise ConfigurationError for a broken one."""
    ours = OUR_NESTED_FIELDS.get(name)
    if ours is None:
        return value
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name} of the entry does not hold values by name")
    return {key: item for key, item in value.items() if key not in ours}


def is_ours(entry: Entry, server: Server) -> bool:
    """Return whether an entry leads to a memory site: by its key, by the name of its key, or by its address."""
    text = json.dumps(entry)
    names = ("MEMORY_KEY", server.variable, get_input_id(server))
    return bool(TOKEN.search(text)) or any(name in text for name in names) or json.dumps(server.url) in text


def find_token(entry: Entry | None) -> str | None:
    """Return the key that an entry holds, if it holds one."""
    match = TOKEN.search(json.dumps(entry or {}))
    return match[0] if match else None


def find_variable(entry: Entry) -> str | None:
    """Return the variable from which the client reads the key, if it reads it from one."""
    match = VARIABLE.search(json.dumps(entry))
    return match[1] or match[2] if match else None


def mask_tokens(text: str) -> str:
    """Replace keys, and what others send as bearer tokens."""
    text = TOKEN.sub(lambda match: f"{match[0].split('_')[0]}_{match[0].split('_')[1]}_…", text)
    return re.sub(r"(Bearer )(?!mem_|\$\{)[^\s\"']+", r"\1…", text)
