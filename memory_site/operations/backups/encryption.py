"""Encryption of a backup's file: AES-256-GCM in chunks, written and read as a stream.

The file is a header and chunks. The header: 8 bytes that name the format, 8 that name the key, 16 random ones. From
these and the key HKDF-SHA256 (RFC 5869) derives a key for this file alone, so that a nonce never meets the same key
twice. A chunk is 64 KiB of text (the last one less, or nothing) and 16 bytes of tag. Its nonce is its number in 11
bytes and a flag in one: 1 for the last chunk. So a chunk that is changed, moved, missing or too much is found
(STREAM: Hoang, Reyhanitabar, Rogaway, Vizar, 2015). Every chunk authenticates the header too.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from memory_site.operations.backups.problems import BackupProblem, DamagedBackup

MAGIC = b"MEMBACK1"
KEY_ID_BYTES, SALT_BYTES, TAG_BYTES = 8, 16, 16
HEADER_BYTES = len(MAGIC) + KEY_ID_BYTES + SALT_BYTES
CHUNK_BYTES = 64 * 1024


class WrongKey(BackupProblem):
    """No key of BACKUP_ENCRYPTION_KEY is the one that encrypted the file."""


def get_encryption_key() -> bytes | None:
    """Return the key that encrypts, None: backups are not encrypted."""
    keys: list[bytes] = settings.BACKUP_ENCRYPTION_KEYS
    return keys[0] if keys else None


def identify_key(key: bytes) -> str:
    """Return 16 hex digits that name a key and say nothing about it."""
    return hashlib.sha256(b"memory-site backup key id" + key).hexdigest()[: 2 * KEY_ID_BYTES]


def find_key(key_id: str, file_name: str) -> bytes:
    """Return the key of that id. Raises WrongKey."""
    known = {identify_key(key): key for key in settings.BACKUP_ENCRYPTION_KEYS}
    if key_id not in known:
        has = f"has {', '.join(known)}" if known else "is empty"
        raise WrongKey(f"{file_name} is encrypted with the key {key_id}, and BACKUP_ENCRYPTION_KEY {has}.")
    return known[key_id]


def build_cipher(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt=salt, info=b"memory-site backup file").derive(key))


def build_nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])


class EncryptingWriter:
    """Encrypts what is written to it into a file. Without `finish` the file counts as cut off."""

    def __init__(self, file: IO[bytes], key: bytes) -> None:
        salt = os.urandom(SALT_BYTES)
        self._file, self._cipher, self._number, self._buffer = file, build_cipher(key, salt), 0, bytearray()
        self._header = MAGIC + bytes.fromhex(identify_key(key)) + salt
        file.write(self._header)

    def write(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) > CHUNK_BYTES:
            self._write_chunk(bytes(self._buffer[:CHUNK_BYTES]), is_last=False)
            del self._buffer[:CHUNK_BYTES]

    def finish(self) -> None:
        """Write the last chunk."""
        self._write_chunk(bytes(self._buffer), is_last=True)

    def _write_chunk(self, data: bytes, *, is_last: bool) -> None:
        self._file.write(self._cipher.encrypt(build_nonce(self._number, is_last=is_last), data, self._header))
        self._number += 1


def decrypt_file(path: Path) -> Iterator[bytes]:
    """Yield the text of an encrypted file in pieces, each authentic. Raises WrongKey, DamagedBackup."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
            raise DamagedBackup(f"{path.name} is no encrypted backup, or its beginning is damaged.")
        key_id, salt = header[len(MAGIC) : -SALT_BYTES].hex(), header[-SALT_BYTES:]
        cipher = build_cipher(find_key(key_id, path.name), salt)
        for number, (chunk, is_last) in enumerate(read_chunks(file)):
            try:
                yield cipher.decrypt(build_nonce(number, is_last=is_last), chunk, header)
            except InvalidTag:
                at = HEADER_BYTES + number * (CHUNK_BYTES + TAG_BYTES)
                raise DamagedBackup(f"{path.name} is damaged or cut off behind byte {at:,}.") from None


def read_chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bool]]:
    """Yield each chunk and whether the file ends behind it."""
    chunk = file.read(CHUNK_BYTES + TAG_BYTES)
    while following := file.read(CHUNK_BYTES + TAG_BYTES):
        yield chunk, False
        chunk = following
    yield chunk, True
