"""Which clients of this machine are connected to a memory site, and whether their keys work."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memory_site.operations.connect.clients import CLIENTS, SCOPES, Client, Machine, Server
from memory_site.operations.connect.entries import Entry, find_token, find_variable, is_ours, read_entries
from memory_site.operations.connect.errors import ConfigurationError
from memory_site.operations.connect.files import ConfigurationFile
from memory_site.operations.connect.keys import (
    FoundKey,
    find_keys_in_variable,
    find_shown_keys,
    find_usable_key,
    format_key_name,
)

COLUMNS = ("client", "scope", "server", "url", "key", "state", "last_used", "file")


def list_connections(machine: Machine, site: str) -> Iterator[dict[str, Any]]:
    """Return one row for each entry that leads to a memory site, and one for each file that cannot be read."""
    for name, client in CLIENTS.items():
        for scope in SCOPES:
            path = client.find_file(machine, scope)
            if path is not None:
                for row in list_entries(name, client, scope, path, machine, site):
                    yield dict.fromkeys(COLUMNS) | {"client": name, "scope": scope, "file": str(path)} | row


def list_entries(
    name: str, client: Client, scope: str, path: Path, machine: Machine, site: str
) -> Iterator[dict[str, Any]]:
    try:
        entries = read_entries(client, ConfigurationFile(path).text or "")
    except ConfigurationError as error:
        yield {"state": f"cannot be read: {error}"}
        return
    for server, entry in entries.items():
        if is_ours(entry, Server(server, site, None, None, None, "MEMORY_KEY")):
            key_name = format_key_name(name, server, machine.folder if scope == "project" else None)
            yield {"server": server, "url": find_address(entry)} | describe_key(entry, key_name, machine)


def find_address(entry: Entry) -> str | None:
    variables = entry.get("env")
    return entry.get("url") or entry.get("serverUrl") or (variables or {}).get("MEMORY_URL")


def describe_key(entry: Entry, key_name: str, machine: Machine) -> dict[str, Any]:
    """Return the columns about the key: the one in the entry, in the environment, or of the client's name."""
    token = find_token(entry)
    if token is not None:
        key = find_usable_key(token)
        state = "works" if key else "revoked, expired or of another site"
    elif found := find_key_elsewhere(entry, key_name, machine):
        key, state = found.key, "works" if found.token else "works; not in the file"
    else:
        key, state = None, "no key"
    return {"key": str(key) if key else None, "state": state, "last_used": key.last_used_at if key else None}


def find_key_elsewhere(entry: Entry, key_name: str, machine: Machine) -> FoundKey | None:
    variable = find_variable(entry)
    token = machine.variables.get(variable) if variable else None
    if (key := find_usable_key(token)) is not None:
        return FoundKey(key, token)
    known = find_shown_keys(key_name) or (find_keys_in_variable(variable) if variable else [])
    return FoundKey(known[0], None) if known else None
