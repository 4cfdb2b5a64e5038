"""`manage.py connect CLIENT`: make a key for an MCP client and write the client's configuration."""

import os
import re
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.core.management.base import CommandError
from pydantic import TypeAdapter, ValidationError

from memory_site.core.http.path_labels import UserId
from memory_site.embedded.running_site import find_running_site
from memory_site.operations.connect.clients import CLIENTS, ENVIRONMENT, KEY_PLACES, PROJECT, SCOPES, USER, Machine
from memory_site.operations.connect.connection import Connection, Outcome
from memory_site.operations.connect.errors import ConfigurationError
from memory_site.operations.connect.keys import DEFAULT_SERVER, KeyRequest, format_key_name
from memory_site.operations.connect.listing import list_connections
from sessions_app.commands import (
    EXIT_CHECK_FAILED,
    EXIT_USAGE_ERROR,
    FORMATS,
    MemoryCommand,
    add_namespace_argument,
)
from sessions_app.models import READ, WRITE
from sessions_app.models import SCOPES as KEY_SCOPES

DEFAULT_URL = "http://127.0.0.1:8000"


class Command(MemoryCommand):
    help = "Connect an MCP client: make a key of its own, write its configuration, try it. Repeating changes nothing."
    max_cell_length = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("client", nargs="?", choices=CLIENTS, help="the program to connect")
        what.add_argument("--list", action="store_true", help="show which clients are connected and whether keys work")
        add_namespace_argument(parser)
        parser.add_argument("--user", help="limit the client to the memories of this user")
        parser.add_argument("--project", help="the project that is meant when the model names none")
        parser.add_argument(
            "--scopes", nargs="+", choices=KEY_SCOPES, default=[READ, WRITE], help="of the key; default: read write"
        )
        parser.add_argument("--url", help=f"address of the site (default: of the running one, else {DEFAULT_URL})")
        parser.add_argument(
            "--scope", choices=SCOPES, default=USER, help="your own file, or that of the project in this folder"
        )
        parser.add_argument("--config", type=Path, metavar="FILE", help="write this file instead")
        parser.add_argument("--name", default=DEFAULT_SERVER, help="of the server in the file; default: %(default)s")
        parser.add_argument("--key", choices=KEY_PLACES, dest="place", help="where the client finds its key")
        parser.add_argument("--variable", default="MEMORY_KEY", help="variable of --key environment (%(default)s)")
        parser.add_argument("--new-key", action="store_true", help="replace the key, and revoke the earlier one")
        action = parser.add_mutually_exclusive_group()
        action.add_argument("--print", action="store_true", dest="only_print", help="print it, write nothing")
        action.add_argument("--remove", action="store_true", help="remove the entry and revoke its key")
        parser.add_argument("--dry-run", action="store_true", help="show what would change, and make or revoke no key")
        parser.add_argument("--format", choices=FORMATS, default="table", help="of --list; default: table")

    def handle(self, *, client: str | None, format: str, **options: Any) -> None:
        machine = Machine(sys.platform, Path.home(), Path.cwd(), os.environ)
        site = check_url(options["url"] or find_running_site() or DEFAULT_URL)
        if client is None:
            self.print_rows(list_connections(machine, site), format)
            return
        check_options(options)
        connection = self._open(client, machine, site, options)
        try:
            self._run(connection, options)
        except ConfigurationError as error:
            raise CommandError(f"{connection.path}: {error}. Nothing was changed.") from error

    def _open(self, client: str, machine: Machine, site: str, options: dict[str, Any]) -> Connection:
        scope = options["scope"]
        path = options["config"] or CLIENTS[client].find_file(machine, scope)
        if path is None:
            raise usage_error(f"{CLIENTS[client].title} has no file for a project.")
        place = options["place"] or CLIENTS[client].choose_key_place(scope)
        if place not in CLIENTS[client].key_places:
            known = ", ".join(CLIENTS[client].key_places)
            raise usage_error(f"{CLIENTS[client].title} cannot have its key there; --key may be: {known}.")
        folder = machine.folder if scope == PROJECT else None
        variable = options["variable"] if place == ENVIRONMENT else None
        key_name = format_key_name(client, options["name"], folder, variable)
        return Connection(
            client=CLIENTS[client],
            path=path,
            place=place,
            key_request=KeyRequest(key_name, options["namespace"], frozenset(options["scopes"])),
            name=options["name"],
            site=site,
            user=options["user"],
            project=options["project"],
            variable=options["variable"],
            token_of_variable=machine.variables.get(options["variable"]),
        )

    def _run(self, connection: Connection, options: dict[str, Any]) -> None:
        if options["dry_run"]:
            self._preview(connection, options)
        elif options["remove"]:
            self._report(connection.remove())
        elif options["only_print"]:
            self._report(connection.print(new_key=options["new_key"]))
        else:
            outcome = connection.write(new_key=options["new_key"])
            self._report(outcome)
            self._try(connection, outcome)

    def _preview(self, connection: Connection, options: dict[str, Any]) -> None:
        new_key = options["new_key"]
        if options["remove"]:
            change, keys = connection.preview_removal(), connection.preview_revoked()
        else:
            change, keys = connection.preview(new_key=new_key), connection.preview_keys(new_key=new_key)
        self.stdout.write(change or ("The file would not change." if keys else "Nothing would change."))
        for line in keys:
            self.stderr.write(line)

    def _report(self, outcome: Outcome) -> None:
        for line in outcome.messages:
            self.stderr.write(line)
        for line in outcome.results:
            self.stdout.write(line)

    def _try(self, connection: Connection, outcome: Outcome) -> None:
        """Call the endpoint as the client will."""
        if outcome.token is None:
            self.stderr.write(f"Not tried: {connection.explain_missing_token()}.")
            return
        probe = connection.probe(outcome.token)
        self.stderr.write(probe.message)
        if probe.answered and not probe.works:
            raise CommandError("It is written, but the client will not work.", returncode=EXIT_CHECK_FAILED)


def usage_error(message: str) -> CommandError:
    return CommandError(message, returncode=EXIT_USAGE_ERROR)


def check_url(url: str) -> str:
    """Return the address of a site without a slash at its end."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment or "@" in url:
        raise usage_error("--url must be the address of a site, such as http://127.0.0.1:8000.")
    return url.rstrip("/").removesuffix("/mcp")


def check_options(options: dict[str, Any]) -> None:
    """Raise CommandError for a value that no client could work with."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", options["name"]):
        raise usage_error("--name may have letters, digits, _ and -, at most 64.")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", options["variable"]):
        raise usage_error("--variable must be the name of a variable.")
    if options["only_print"] and options["dry_run"]:
        raise usage_error("--print writes nothing: give it without --dry-run.")
    if not options["namespace"].strip() or len(options["namespace"]) > 255:
        raise usage_error("--namespace must be a name of at most 255 characters.")
    for name in ("user", "project"):
        value = options[name]
        if value is not None and (not value.strip() or len(value) > 255 or not value.isprintable()):
            raise usage_error(f"--{name} must be a name of at most 255 characters.")
    if options["user"] is not None:
        check_user(options["user"])
    # A header has Latin letters only.
    if options["project"] and not options["project"].isascii():
        raise usage_error("--project is sent as a header: it may have ASCII characters only.")


def check_user(user: str) -> None:
    """Raise CommandError for a user whom an address cannot name: `/mcp/users/..` is that of all users."""
    try:
        TypeAdapter(UserId).validate_python(user)
    except ValidationError as error:
        raise usage_error(f"--user {error.errors()[0]['msg'].removeprefix('Value error, ')}.") from None
