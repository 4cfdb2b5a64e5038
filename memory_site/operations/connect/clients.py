"""The clients: where each keeps its configuration, in which format, and how it writes one MCP server."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.conf import settings

USER, PROJECT = SCOPES = ("user", "project")
#: Where the key is: in the file, in a variable of the environment that the file names, or asked for by the client.
FILE, ENVIRONMENT, PROMPT = KEY_PLACES = ("file", "environment", "prompt")
#: Headers and variables that are ours within an entry; those of the user's own stay.
KEY_HEADER, PROJECT_HEADER = "Authorization", "X-Memory-Project"
INPUT_DESCRIPTION = "API key of "
OUR_VARIABLES = ("MEMORY_URL", "MEMORY_KEY", "MEMORY_PROJECT")


@dataclass(frozen=True)
class Machine:
    """What decides where files are."""

    platform: str
    home: Path
    folder: Path
    variables: Mapping[str, str]

    @property
    def settings_folder(self) -> Path:
        """The folder in which desktop programs keep their settings."""
        if self.platform == "darwin":
            return self.home / "Library/Application Support"
        if self.platform == "win32":
            return Path(self.variables.get("APPDATA") or self.home / "AppData/Roaming")
        return Path(self.variables.get("XDG_CONFIG_HOME") or self.home / ".config")

    def get_folder(self, variable: str, default: str) -> Path:
        """Return the folder that a variable names, or one in the home directory."""
        return Path(self.variables.get(variable) or self.home / default)


@dataclass(frozen=True)
class Server:
    """The MCP server that an entry describes."""

    name: str
    #: The site's address.
    site: str
    #: The user to whom it is limited, and the project that is meant by default.
    user: str | None
    project: str | None
    #: The key, or None where it is not in the file.
    token: str | None
    variable: str

    @property
    def path(self) -> str:
        return f"/mcp/users/{quote(self.user, safe='')}" if self.user else "/mcp"

    @property
    def url(self) -> str:
        return self.site + self.path


@dataclass(frozen=True)
class Client:
    title: str
    format: str
    #: The names above the entries in the file.
    parent: str
    user_file: Callable[[Machine], Path]
    project_file: str | None
    #: The first is the default in the user's own file.
    key_places: tuple[str, ...]
    build_entry: Callable[[Server, str], dict[str, Any]]

    def find_file(self, machine: Machine, scope: str) -> Path | None:
        """Return the client's file of a scope, or None if it has none."""
        if scope == USER:
            return self.user_file(machine)
        return machine.folder / self.project_file if self.project_file else None

    def choose_key_place(self, scope: str) -> str:
        """Return where the key is by default. A project's file is shared with others: no key belongs in it."""
        return self.key_places[0] if scope == USER else next(place for place in self.key_places if place != FILE)


def build_headers(server: Server, place: str, reference: str) -> dict[str, str]:
    key = server.token if place == FILE else reference
    return {KEY_HEADER: f"Bearer {key}"} | ({PROJECT_HEADER: server.project} if server.project else {})


def build_claude_code(server: Server, place: str) -> dict[str, Any]:
    return {
        "type": "http",
        "url": server.url,
        "headers": build_headers(server, place, f"${{{server.variable}}}"),
    }


def build_claude_desktop(server: Server, place: str) -> dict[str, Any]:
    """Return a program, because it runs only these: `manage.py mcp` passes everything on to the site."""
    variables = {"MEMORY_URL": server.site, "MEMORY_KEY": server.token, "MEMORY_PROJECT": server.project}
    return {
        "command": sys.executable,
        "args": [str(settings.BASE_DIR / "manage.py"), "mcp", *(("--user", server.user) if server.user else ())],
        "env": {name: value for name, value in variables.items() if value},
    }


def build_cursor(server: Server, place: str) -> dict[str, Any]:
    return {"url": server.url, "headers": build_headers(server, place, f"${{env:{server.variable}}}")}


def build_windsurf(server: Server, place: str) -> dict[str, Any]:
    return {"serverUrl": server.url, "headers": build_headers(server, place, f"${{env:{server.variable}}}")}


def build_vscode(server: Server, place: str) -> dict[str, Any]:
    reference = f"${{input:{get_input_id(server)}}}"
    return {"type": "http", "url": server.url, "headers": build_headers(server, place, reference)}


def build_codex(server: Server, place: str) -> dict[str, Any]:
    headers = build_headers(server, place, "")
    if place == ENVIRONMENT:
        del headers[KEY_HEADER]
    reference = {"bearer_token_env_var": server.variable} if place == ENVIRONMENT else {}
    return {"url": server.url} | reference | ({"http_headers": headers} if headers else {})


def get_input_id(server: Server) -> str:
    """Return the id under which VS Code asks for the key once and keeps it."""
    return f"{server.name}-key"


def build_input(server: Server) -> dict[str, Any]:
    description = INPUT_DESCRIPTION + server.site
    return {"type": "promptString", "id": get_input_id(server), "description": description, "password": True}


CLIENTS = {
    "claude-code": Client(
        "Claude Code",
        "json",
        "mcpServers",
        lambda machine: machine.get_folder("CLAUDE_CONFIG_DIR", "") / ".claude.json",
        ".mcp.json",
        (ENVIRONMENT, FILE),
        build_claude_code,
    ),
    "claude-desktop": Client(
        "Claude Desktop",
        "json",
        "mcpServers",
        lambda machine: machine.settings_folder / "Claude/claude_desktop_config.json",
        None,
        (FILE,),
        build_claude_desktop,
    ),
    # A program of the desktop does not see the variables of a shell.
    "cursor": Client(
        "Cursor",
        "jsonc",
        "mcpServers",
        lambda machine: machine.home / ".cursor/mcp.json",
        ".cursor/mcp.json",
        (FILE, ENVIRONMENT),
        build_cursor,
    ),
    "vscode": Client(
        "VS Code",
        "jsonc",
        "servers",
        lambda machine: machine.settings_folder / "Code/User/mcp.json",
        ".vscode/mcp.json",
        (PROMPT, FILE),
        build_vscode,
    ),
    "codex": Client(
        "Codex",
        "toml",
        "mcp_servers",
        lambda machine: machine.get_folder("CODEX_HOME", ".codex") / "config.toml",
        ".codex/config.toml",
        (ENVIRONMENT, FILE),
        build_codex,
    ),
    "windsurf": Client(
        "Windsurf",
        "json",
        "mcpServers",
        lambda machine: machine.home / ".codeium/windsurf/mcp_config.json",
        None,
        (FILE, ENVIRONMENT),
        build_windsurf,
    ),
}
