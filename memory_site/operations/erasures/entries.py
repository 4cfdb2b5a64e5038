"""An erasure, and the line of the ledger that holds it.

A line is a JSON object: `id`, `kind`, `namespace` and `at` can be read by all; `sealed` holds the digest of the user's
id and the audit's figures, encrypted by AES-256-GCM, which also protects the other fields against changes. So a copy
of the ledger alone does not show whether a certain person was erased. `key` says which SECRET_KEY sealed it.
"""

import base64
import hashlib
import json
import os
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from memory_site.operations.derived_keys import derive_key

KEY_LABEL = b"memory-site erasure ledger"
NONCE_BYTES = 12
CLEAR_FIELDS = ("id", "kind", "namespace", "at", "key")


class DamagedLine(Exception):
    """A line that was not written so: a flipped bit, a cut, or a change by hand."""


class Kind(StrEnum):
    USER = "user"
    #: All rows of a namespace.
    ROWS = "rows"
    #: The namespace too, with its API keys.
    NAMESPACE = "namespace"


@dataclass(frozen=True)
class Entry:
    """An erasure. `user_digest` is the SHA-256 of the user's id; it is empty for the other kinds."""

    id: UUID
    kind: Kind
    namespace_id: int
    at: datetime
    user_digest: bytes = b""
    requested_by: str = ""
    erased: dict[str, int] = field(default_factory=dict)


def seal(entry: Entry) -> str:
    """Return the entry's line, without the line break."""
    clear = {
        "id": str(entry.id),
        "kind": entry.kind.value,
        "namespace": entry.namespace_id,
        "at": entry.at.isoformat(),
        "key": identify_key(),
    }
    hidden = {"user": entry.user_digest.hex(), "by": entry.requested_by, "erased": entry.erased}
    nonce = os.urandom(NONCE_BYTES)
    sealed = nonce + AESGCM(derive_key(KEY_LABEL)).encrypt(nonce, json.dumps(hidden).encode(), encode_clear(clear))
    return json.dumps(clear | {"sealed": base64.b64encode(sealed).decode()})


def open_line(line: str) -> Entry | None:
    """Return the entry of a line; None if another SECRET_KEY sealed it. Raises DamagedLine."""
    fields = parse_line(line)
    if fields["key"] != identify_key():
        return None
    try:
        sealed = base64.b64decode(fields.pop("sealed"), validate=True)
        opened = AESGCM(derive_key(KEY_LABEL)).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], encode_clear(fields))
    except (InvalidTag, ValueError, TypeError):
        raise DamagedLine from None
    return build_entry(fields, json.loads(opened))


def parse_line(line: str) -> dict[str, Any]:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):  # the latter if it is nested too deep
        raise DamagedLine from None
    if not isinstance(fields, dict) or set(fields) != {*CLEAR_FIELDS, "sealed"}:
        raise DamagedLine
    return fields


def build_entry(clear: dict[str, Any], hidden: dict[str, Any]) -> Entry:
    return Entry(
        id=UUID(clear["id"]),
        kind=Kind(clear["kind"]),
        namespace_id=clear["namespace"],
        at=datetime.fromisoformat(clear["at"]),
        user_digest=bytes.fromhex(hidden["user"]),
        requested_by=hidden["by"],
        erased=hidden["erased"],
    )


def encode_clear(fields: dict[str, Any]) -> bytes:
    return json.dumps([fields[name] for name in CLEAR_FIELDS]).encode()


def identify_key() -> str:
    """Return 16 hex digits that name this key."""
    return hashlib.sha256(b"key id" + derive_key(KEY_LABEL)).hexdigest()[:16]
