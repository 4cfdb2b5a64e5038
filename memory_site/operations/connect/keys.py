"""The API key of a client: found again where it is, and made where it is missing."""

import socket
from dataclasses import dataclass
from pathlib import Path

from django.db.models import Q

from sessions_app.models import ApiKey, Namespace
from sessions_app.models.access import KEY_PREFIX, hash_token

#: The name of the server in a client's file.
DEFAULT_SERVER = "memory"
MAX_NAME_LENGTH = 255
#: Before the variable in the name of a key that is in no file: a key in a file was never shown.
IN_VARIABLE = ", in "


@dataclass(frozen=True)
class KeyRequest:
    """What a client's key must be."""

    name: str
    namespace: str
    scopes: frozenset[str]

    def fits(self, key: ApiKey) -> bool:
        return key.namespace.name == self.namespace and frozenset(key.scopes) == self.scopes

    def describe(self) -> str:
        """Say what issue_key would make."""
        also = "" if Namespace.objects.filter(name=self.namespace).exists() else ", and that namespace, which is new"
        return f"Would make a key ({self.name}) of {self.namespace!r}{also}."


@dataclass(frozen=True)
class FoundKey:
    """A key, and its token where that is known: a site can show it once only."""

    key: ApiKey
    token: str | None


def format_key_name(client: str, server: str, folder: Path | None, variable: str | None = None) -> str:
    """Return the name of a client's key, by which it is found again: "codex on laptop, folder shop, in MEMORY_KEY"."""
    others = (f", server {server}" if server != DEFAULT_SERVER else "") + (f", folder {folder.name}" if folder else "")
    others += f"{IN_VARIABLE}{variable}" if variable else ""
    return f"{client} on {socket.gethostname()}{others}"[:MAX_NAME_LENGTH]


def find_usable_key(token: str | None) -> ApiKey | None:
    """Return the usable key of a token, or None. This counts as no use of it."""
    if not token:
        return None
    key_id = token.removeprefix(KEY_PREFIX).partition("_")[0]
    key = ApiKey.objects.usable().select_related("namespace").filter(pk=key_id[:16]).first()
    return key if key is not None and bytes(key.digest) == hash_token(token) else None


def find_key(request: KeyRequest, tokens: list[str | None], known: list[ApiKey]) -> FoundKey | None:
    """Return the first fitting key among tokens, else among keys whose token its client has."""
    for token in tokens:
        key = find_usable_key(token)
        if key is not None and request.fits(key):
            return FoundKey(key, token)
    return next((FoundKey(key, None) for key in known if request.fits(key)), None)


def find_named_keys(name: str) -> list[ApiKey]:
    """Return the usable keys of that name, newest first."""
    return list(ApiKey.objects.usable().select_related("namespace").filter(name=name).order_by("-created_at"))


def find_shown_keys(name: str) -> list[ApiKey]:
    """Return the usable keys of that name, in whichever variable they are, newest first."""
    names = Q(name=name) | Q(name__startswith=name + IN_VARIABLE)
    return list(ApiKey.objects.usable().select_related("namespace").filter(names).order_by("-created_at"))


def find_keys_in_variable(variable: str) -> list[ApiKey]:
    """Return the usable keys that were made on this machine for a variable, newest first."""
    here, ending = f" on {socket.gethostname()}, ", IN_VARIABLE + variable
    keys = ApiKey.objects.usable().select_related("namespace").filter(name__contains=here, name__endswith=ending)
    return list(keys.order_by("-created_at"))


def issue_key(request: KeyRequest) -> FoundKey:
    """Make a key, and its namespace if that is new."""
    namespace, _ = Namespace.objects.get_or_create(name=request.namespace)
    key, token = ApiKey.objects.issue(namespace, name=request.name, scopes=tuple(sorted(request.scopes)))
    return FoundKey(key, token)
