"""An encrypted file is read only whole, in order, and with its key."""

import random
from base64 import b64encode

import pytest
from pydantic import ValidationError

from memory_site.operations.backups.encryption import (
    CHUNK_BYTES,
    HEADER_BYTES,
    TAG_BYTES,
    EncryptingWriter,
    WrongKey,
    decrypt_file,
    identify_key,
)
from memory_site.operations.backups.problems import DamagedBackup
from memory_site.settings import Environment

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
TEXT = random.Random(1).randbytes(3 * CHUNK_BYTES + 17)


@pytest.fixture(autouse=True)
def keys(settings):
    settings.BACKUP_ENCRYPTION_KEYS = [KEY]


def encrypt(path, text: bytes, key: bytes = KEY, piece: int = 10_000):
    with path.open("wb") as file:
        writer = EncryptingWriter(file, key)
        for start in range(0, len(text), piece):
            writer.write(text[start : start + piece])
        writer.finish()
    return path


@pytest.fixture
def path(tmp_path):
    return encrypt(tmp_path / "memory.dump.enc", TEXT)


@pytest.mark.parametrize("length", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_a_text_of_any_length_comes_back(tmp_path, length):
    path = encrypt(tmp_path / "x.dump.enc", TEXT[:length])
    assert b"".join(decrypt_file(path)) == TEXT[:length]
    chunks = max(-(-length // CHUNK_BYTES), 1)
    assert path.stat().st_size == HEADER_BYTES + length + chunks * TAG_BYTES


def test_nothing_of_the_text_is_in_the_file(tmp_path):
    data = encrypt(tmp_path / "x.dump.enc", b"a secret " * 10_000).read_bytes()
    assert b"secret" not in data
    assert encrypt(tmp_path / "y.dump.enc", b"a secret " * 10_000).read_bytes()[HEADER_BYTES:] != data[HEADER_BYTES:]


def test_each_flipped_bit_is_found_and_named(path):
    data, chance = path.read_bytes(), random.Random(2)
    for at in [*range(HEADER_BYTES), *(chance.randrange(len(data)) for _ in range(40))]:
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        with pytest.raises((DamagedBackup, WrongKey), match=path.name):
            list(decrypt_file(path))


def test_each_cut_is_found(path):
    data = path.read_bytes()
    at_chunks = [HEADER_BYTES + number * (CHUNK_BYTES + TAG_BYTES) for number in range(4)]
    for length in [0, 5, *at_chunks, *range(0, len(data), len(data) // 20), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(DamagedBackup, match=path.name):
            list(decrypt_file(path))


def test_chunks_in_another_order_or_twice_are_found(path):
    data, size = path.read_bytes(), CHUNK_BYTES + TAG_BYTES
    header, body = data[:HEADER_BYTES], data[HEADER_BYTES:]
    first, second = body[:size], body[size : 2 * size]
    for changed in (second + first + body[2 * size :], first + body, first + second + second + body[2 * size :]):
        path.write_bytes(header + changed)
        with pytest.raises(DamagedBackup):
            list(decrypt_file(path))


def test_a_chunk_of_another_file_is_found(path, tmp_path):
    other = encrypt(tmp_path / "other.dump.enc", TEXT).read_bytes()
    data = path.read_bytes()
    path.write_bytes(data[:HEADER_BYTES] + other[HEADER_BYTES:])
    with pytest.raises(DamagedBackup):
        list(decrypt_file(path))


def test_a_wrong_and_a_missing_key_are_said_by_their_ids(path, settings):
    settings.BACKUP_ENCRYPTION_KEYS = [OTHER_KEY]
    sentence = f"{path.name} is encrypted with the key {identify_key(KEY)}.*{identify_key(OTHER_KEY)}"
    with pytest.raises(WrongKey, match=sentence):
        list(decrypt_file(path))
    settings.BACKUP_ENCRYPTION_KEYS = []
    with pytest.raises(WrongKey, match="BACKUP_ENCRYPTION_KEY is empty"):
        list(decrypt_file(path))


def test_an_earlier_key_still_decrypts(path, settings):
    settings.BACKUP_ENCRYPTION_KEYS = [OTHER_KEY, KEY]
    assert b"".join(decrypt_file(path)) == TEXT


def test_the_setting_takes_keys_of_32_bytes_in_base64():
    good = b64encode(KEY).decode()
    assert Environment(backup_encryption_key=f"{good}, {good}", _env_file=None).backup_encryption_key
    for wrong in ("short", b64encode(b"k" * 31).decode(), f"{good},x"):
        with pytest.raises(ValidationError, match="32 bytes each in base64"):
            Environment(backup_encryption_key=wrong, _env_file=None)
