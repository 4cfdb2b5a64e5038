"""The manifest beside a backup's file: what the file must contain, signed with a key of the site.

It is a JSON object whose last entry, `signature`, is the HMAC-SHA256 in hex of all bytes before it. So every flipped
bit and every cut is found, also one that would change nothing of what the JSON means. Format 1:

    format        1
    name          of the backup, such as memory-2026-11-30T020000Z
    file          name of the file beside the manifest
    size, sha256  of the file: bytes, hex
    product, postgresql, pgvector, pg_dump    versions
    database      {name, encoding, provider, collate, ctype, locale}
    started_at, written_at    ISO 8601; the snapshot is of `started_at`
    migrations    ["app.name", …] that were applied
    tables        {"schema.table": {rows, hash}}; see `contents` for the recipe of the hash
    sequences     {"schema.sequence": last value}; the file may have later ones
    objects       {kind: count} of indexes, constraints, triggers, functions, views
    hash_probe    the hash of a fixed text: another PostgreSQL may compute other hashes
    encryption    null or {key_id}
    verification  null or {state, at, seconds, restore_seconds, message}
    pinned        whether rotation keeps it
    signed_by     id of the key that signed it
"""

import hashlib
import hmac
import json
import os
import re
import stat
from pathlib import Path
from typing import Any

from memory_site.operations.backups.problems import ForeignManifest, ManifestProblem
from memory_site.operations.derived_keys import derive_key
from memory_site.operations.files import write_durably

FORMAT = 1
KEY_LABEL = b"memory-site backup manifest"
SIGNATURE = re.compile(rb'\A(?P<body>.*),\n "signature": "(?P<signature>[0-9a-f]{64})"\n}\n\Z', re.DOTALL)
#: A manifest of a hundred tables has 20 KB. What is larger is none.
MAX_MANIFEST_BYTES = 16 * 1024 * 1024

Manifest = dict[str, Any]


def identify_signing_key() -> str:
    """Return 16 hex digits that name this site's signing key, and show nothing of it."""
    return hmac.digest(derive_key(KEY_LABEL), b"key id", "sha256").hex()[:16]


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Sign a manifest and put it in the place of an earlier one, in one step that survives a crash."""
    signed = manifest | {"signed_by": identify_signing_key()}
    write_durably(path, sign(json.dumps(signed, indent=1).encode()))


def sign(document: bytes) -> bytes:
    """Append the signature to a JSON object that is indented by one."""
    body = document.removesuffix(b"\n}")
    signature = hmac.digest(derive_key(KEY_LABEL), body, hashlib.sha256).hex()
    return b'%s,\n "signature": "%s"\n}\n' % (body, signature.encode())


def read_manifest(path: Path, *, trust_foreign: bool = False) -> Manifest:
    """Return a manifest whose signature is right. Raises ManifestProblem.

    `trust_foreign` accepts one that was signed with another SECRET_KEY, which nothing protects.
    """
    try:
        data = read_small_file(path)
    except OSError as error:
        raise ManifestProblem(f"{path.name} cannot be read: {error.strerror}.") from None
    return parse_manifest(data, path.name, trust_foreign=trust_foreign)


def read_small_file(path: Path) -> bytes:
    """Return the content of a file; nothing if it is too large, or none: a pipe would be waited for. Raises OSError."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return b""
        data = file.read(MAX_MANIFEST_BYTES + 1)
    return data if len(data) <= MAX_MANIFEST_BYTES else b""


def parse_manifest(data: bytes, name: str, *, trust_foreign: bool = False) -> Manifest:
    """Return the manifest in the bytes of the file `name`. Raises ManifestProblem."""
    match = SIGNATURE.match(data)
    if match is None:
        raise ManifestProblem(f"{name} is no manifest of a backup, or is damaged: it does not end with a signature.")
    expected = hmac.digest(derive_key(KEY_LABEL), match["body"], hashlib.sha256).hex()
    is_right = hmac.compare_digest(expected, match["signature"].decode())
    manifest = parse_body(match["body"], name)
    if not is_right:
        check_signer(manifest, name, trust_foreign)
    return manifest


def parse_body(body: bytes, name: str) -> Manifest:
    """Return the JSON object without its signature. Raises ManifestProblem."""
    try:
        manifest = json.loads(body + b"\n}")
    except (ValueError, RecursionError):  # the latter if it is nested too deep
        raise ManifestProblem(f"{name} is damaged: it is no JSON.") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format"), int):
        raise ManifestProblem(f"{name} is damaged: it names no format.")
    if manifest["format"] > FORMAT:
        raise ManifestProblem(f"{name} has format {manifest['format']}, and this release knows {FORMAT}: update it.")
    return manifest


def check_signer(manifest: Manifest, name: str, trust_foreign: bool) -> None:
    """Raise the problem of a wrong signature: of another site, or changed after it was signed."""
    if manifest.get("signed_by") == identify_signing_key():
        raise ManifestProblem(f"{name} was changed after it was written: its signature is wrong.")
    if not trust_foreign:
        raise ForeignManifest(
            f"{name} was signed with another SECRET_KEY, or is damaged: use the SECRET_KEY of the site that made it."
        )
