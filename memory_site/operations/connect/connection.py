"""One client and one site: shows, writes and removes the entry, with the key that belongs to it."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from django.db import transaction

from memory_site.core.db.locks import advisory_xact_lock
from memory_site.operations.connect.clients import ENVIRONMENT, FILE, PROJECT_HEADER, Client, Server
from memory_site.operations.connect.diff import format_diff
from memory_site.operations.connect.entries import (
    Entry,
    find_token,
    is_ours,
    read_entries,
    remove_entry,
    write_entry,
)
from memory_site.operations.connect.errors import ConfigurationError
from memory_site.operations.connect.files import ConfigurationFile
from memory_site.operations.connect.keys import (
    FoundKey,
    KeyRequest,
    find_key,
    find_keys_in_variable,
    find_named_keys,
    find_usable_key,
    issue_key,
)
from memory_site.operations.connect.probe import KEY_PATH, Probe, probe_endpoint
from sessions_app.models import ApiKey

#: Stands for a key that is not made yet.
KEY_TO_COME = "mem_…"


@dataclass
class Outcome:
    """What was done: sentences, what a person or a script takes, and the key's token where it is known."""

    messages: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    token: str | None = None


@dataclass
class Connection:
    """All methods raise ConfigurationError and then have changed nothing."""

    client: Client
    path: Path
    place: str
    key_request: KeyRequest
    name: str
    site: str
    user: str | None
    project: str | None
    variable: str
    token_of_variable: str | None

    @cached_property
    def file(self) -> ConfigurationFile:
        return ConfigurationFile(self.path)

    def build_server(self, token: str | None) -> Server:
        return Server(self.name, self.site, self.user, self.project, token, self.variable)

    def probe(self, token: str) -> Probe:
        headers = {PROJECT_HEADER: self.project} if self.project else {}
        return probe_endpoint(self.build_server(None).url, self.site + KEY_PATH, token, headers)

    def explain_missing_token(self) -> str:
        if self.place == ENVIRONMENT:
            return f"set {self.variable} and repeat the command"
        return "the site cannot show a key a second time"

    def preview(self, *, new_key: bool) -> str:
        """Return the change as a diff, which is empty if there would be none."""
        entry = self._read_entry()
        found = None if new_key else self._find_key(entry)
        before = self.file.text or ""
        token = found.token if found else KEY_TO_COME
        return format_diff(
            str(self.path), before, write_entry(self.client, before, self.build_server(token), self.place)
        )

    def preview_keys(self, *, new_key: bool) -> list[str]:
        """Return which keys would be made and revoked."""
        entry = self._read_entry()
        if not new_key and self._find_key(entry):
            return []
        replaced = self._find_replaced_keys(entry, new_key)
        revoked = [f"Would revoke the key {key} ({key.name})." for key in replaced]
        return [self.key_request.describe(), *revoked, *self._warn_of_others(replaced)]

    def preview_removal(self) -> str:
        """Return what --remove would change as a diff, which is empty if there is no such entry."""
        self._read_entry()
        before = self.file.text or ""
        return format_diff(str(self.path), before, remove_entry(self.client, before, self.build_server(None)))

    def preview_revoked(self) -> list[str]:
        """Return which keys --remove would revoke."""
        entry = self._read_entry()
        keys = self._find_earlier_keys(entry) if entry is not None else []
        return [f"Would revoke the key {key} ({key.name})." for key in keys]

    @transaction.atomic
    def print(self, *, new_key: bool) -> Outcome:
        """Return the configuration as a file of its own."""
        key, is_new = self._provide_key(None, new_key, by_name=True)
        server = self.build_server(key.token or f"{key.key}")
        outcome = self._report_key(key, is_new)
        outcome.results.insert(0, write_entry(self.client, "", server, self.place))
        return outcome

    @transaction.atomic
    def write(self, *, new_key: bool) -> Outcome:
        """Write the entry into the file. No key is made if the file cannot be written."""
        advisory_xact_lock("connect")  # before the file is read: of two runs at once the second one finds all done
        self.file.check_writable()
        entry = self._read_entry()
        key, is_new = self._provide_key(entry, new_key)
        before = self.file.text or ""
        text = write_entry(self.client, before, self.build_server(key.token), self.place)
        outcome = self._report_key(key, is_new)
        outcome.messages[:0] = self._write_text(text)
        return outcome

    @transaction.atomic
    def remove(self) -> Outcome:
        """Remove the entry, and revoke the key in it or of this client's name."""
        advisory_xact_lock("connect")
        entry = self._read_entry()
        if entry is None:
            return Outcome([f"{self.path} has no server {self.name!r}."])
        self.file.check_writable()
        keys = self._find_earlier_keys(entry)
        messages = self._write_text(remove_entry(self.client, self.file.text or "", self.build_server(None)))
        revoked = revoke(keys)
        if revoked and self.place == ENVIRONMENT:
            revoked.append(f"Other clients that read {self.variable} need another key.")
        return Outcome([*messages, *revoked])

    def _read_entry(self) -> Entry | None:
        """Return the entry of the name. Raise ConfigurationError if another server has that name."""
        entry = read_entries(self.client, self.file.text or "").get(self.name)
        if entry is not None and not is_ours(entry, self.build_server(None)):
            raise ConfigurationError(f"has another server of the name {self.name!r}; choose one with --name")
        return entry

    def _find_key(self, entry: Entry | None, *, by_name: bool = False) -> FoundKey | None:
        tokens = [self.token_of_variable] if self.place == ENVIRONMENT else []
        known = self._find_shown_keys() if by_name or self.place != FILE else []
        return find_key(self.key_request, [*tokens, find_token(entry)], known)

    def _find_shown_keys(self) -> list[ApiKey]:
        """Return the keys whose token was shown for this client, or for another one that reads the same variable."""
        return find_named_keys(self.key_request.name) + self._find_keys_in_variable()

    def _find_keys_in_variable(self) -> list[ApiKey]:
        return find_keys_in_variable(self.variable) if self.place == ENVIRONMENT else []

    def _provide_key(self, entry: Entry | None, new_key: bool, *, by_name: bool = False) -> tuple[FoundKey, bool]:
        """Return the client's key and whether it is new."""
        found = None if new_key else self._find_key(entry, by_name=by_name)
        if found is not None:
            return found, False
        earlier = self._find_replaced_keys(entry, new_key)
        key = issue_key(self.key_request)
        revoke(earlier)
        return key, True

    def _warn_of_others(self, ours: list[ApiKey]) -> list[str]:
        """Say which keys a new one drives out of its variable, though other clients may need them."""
        if self.place != ENVIRONMENT:
            return []
        others = {
            key.pk: key for key in (find_usable_key(self.token_of_variable), *self._find_keys_in_variable()) if key
        }
        return [
            f"{self.variable} holds one key. Of {key.namespace.name!r} there is {key} ({key.name}): to keep it, give "
            f"this client another variable with --variable."
            for key in others.values()
            if key not in ours
        ]

    def _find_key_in(self, entry: Entry | None) -> list[ApiKey]:
        key = find_usable_key(find_token(entry))
        return [key] if key else []

    def _find_replaced_keys(self, entry: Entry | None, new_key: bool) -> list[ApiKey]:
        """Return the keys that end when another one is made: of a variable that clients share, the one in it."""
        if not new_key:
            return self._find_key_in(entry)
        shared = [key for key in self._find_keys_in_variable() if self.key_request.fits(key)]
        return self._find_earlier_keys(entry) or shared

    def _find_earlier_keys(self, entry: Entry | None) -> list[ApiKey]:
        """Return the keys that end with this connection: the one in the entry, else those of its name."""
        return self._find_key_in(entry) or find_named_keys(self.key_request.name)

    def _write_text(self, text: str) -> list[str]:
        """Write the file if it changes, and return what was done."""
        if text == self.file.text:
            protected = self.place == FILE and self.file.protect()
            return [f"{self.path} is as it should be{'; only you can read it now' if protected else ''}."]
        backup = self.file.write(text, private=bool(find_token({"text": text})))
        return [f"Wrote {self.path}." + (f" What was there before is in {backup.name}." if backup else "")]

    def _report_key(self, found: FoundKey, is_new: bool) -> Outcome:
        key, namespace = found.key, found.key.namespace.name
        outcome = Outcome([f"{'Made the key' if is_new else 'The key is'} {key} ({key.name}) of {namespace!r}."])
        outcome.token = found.token
        if is_new:
            outcome.messages += self._warn_of_others([key])
        if self.place != FILE:
            self._explain_key(outcome, found)
        elif found.token is None:
            outcome.messages.append("The site cannot show it a second time; --new-key replaces it.")
        return outcome

    def _explain_key(self, outcome: Outcome, found: FoundKey) -> None:
        """Say how the key comes to the client that does not have it in its file."""
        if found.token is None:
            outcome.messages += self._explain_shown_key(found.key)
        elif self.place == ENVIRONMENT and found.token != self.token_of_variable:
            outcome.messages.append(f"It is shown only once. {self.client.title} reads it from this variable:")
            outcome.results.append(f"export {self.variable}={found.token}")
        elif self.place != ENVIRONMENT:
            outcome.messages.append(f"It is shown only once. {self.client.title} asks for it and keeps it:")
            outcome.results.append(found.token)

    def _explain_shown_key(self, key: ApiKey) -> list[str]:
        shared = f"{self.client.title} reads {self.variable} too: the line that was printed for this key serves both."
        is_shared = key.name != self.key_request.name
        return [*([shared] if is_shared else []), "It was shown when it was made; --new-key replaces it."]


def revoke(keys: list[ApiKey]) -> list[str]:
    """Revoke keys and return what was done."""
    return [f"Revoked the key {key} ({key.name})." for key in keys if key.revoke()]
