"""The file beside the backups has every erasure once, survives crashes, and does not show who was erased."""

import errno
import json
import os
import stat
from datetime import UTC, datetime
from uuid import UUID

import pytest

from memories.users.erasure import hash_user_id
from memory_site.core.db.ids import uuid7
from memory_site.operations.erasures import ledger
from memory_site.operations.erasures.entries import DamagedLine, Entry, Kind, open_line, seal
from memory_site.operations.erasures.ledger import LedgerProblem, append_missing, read_ledger

AT = datetime(2026, 11, 30, 2, tzinfo=UTC)


def make_entry(user: str = "ada", **fields) -> Entry:
    values = {
        "kind": Kind.USER,
        "namespace_id": 7,
        "at": AT,
        "user_digest": hash_user_id(user),
        "erased": {"memories": 3},
    }
    return Entry(uuid7(), **values | fields)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "backups" / "erasures.jsonl"


def test_a_line_gives_its_entry_back_and_does_not_show_the_user():
    entry = make_entry(requested_by="mem_1234")
    line = seal(entry)
    assert open_line(line) == entry
    assert not any(secret in line for secret in (hash_user_id("ada").hex(), hash_user_id("ada").hex()[:12], "mem_1234"))


def test_each_entry_is_appended_once_and_only_its_owner_reads_the_file(path):
    first, second = make_entry(), make_entry("bob", kind=Kind.ROWS, user_digest=b"")
    assert append_missing(path, [first]) == 1
    assert append_missing(path, [first, second]) == 1
    assert append_missing(path, [first, second]) == 0
    assert list(read_ledger(path).entries.values()) == [first, second]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_line_that_a_crash_cut_is_written_again(path):
    first, second = make_entry(), make_entry("bob")
    append_missing(path, [first, second])
    path.write_bytes(path.read_bytes()[:-40])
    append_missing(path, [first, second])
    found = read_ledger(path)
    assert found.entries == {first.id: first, second.id: second}
    found.require_whole()


def test_every_flipped_bit_and_every_cut_is_found():
    line = seal(make_entry()).encode()
    for place in range(0, len(line) * 8, 29):
        flipped = bytearray(line)
        flipped[place // 8] ^= 1 << place % 8
        assert is_refused(bytes(flipped)), place
    assert all(is_refused(line[:place]) for place in range(1, len(line), 7))


def is_refused(line: bytes) -> bool:
    """Whether a line is damaged, or taken for one that another key sealed."""
    try:
        return open_line(line.decode(errors="replace")) is None
    except DamagedLine:
        return True


def test_a_damaged_line_is_named(path):
    append_missing(path, [make_entry(), make_entry("bob")])
    path.write_text(path.read_text().replace('"namespace": 7', '"namespace": 8', 1))
    with pytest.raises(LedgerProblem, match=r"Line 1 of .*erasures.jsonl is damaged"):
        read_ledger(path).require_whole()


def test_lines_of_another_key_are_named_until_the_database_writes_them_again(path, settings):
    entry = make_entry()
    append_missing(path, [entry])
    settings.SECRET_KEY = "another key of the site, of 32 characters or more"
    with pytest.raises(LedgerProblem, match="recorded with another SECRET_KEY"):
        read_ledger(path).require_whole()
    append_missing(path, [entry])
    read_ledger(path).require_whole()
    assert [UUID(json.loads(line)["id"]) for line in path.read_text().splitlines()] == [entry.id, entry.id]


def test_a_missing_ledger_is_empty_and_an_unreadable_one_is_a_problem(path):
    assert read_ledger(path).entries == {}
    path.mkdir(parents=True)
    with pytest.raises(LedgerProblem, match=r"cannot be read: Is a directory\."):
        read_ledger(path)


def test_a_ledger_on_a_read_only_disk_is_enough_if_it_lacks_nothing(path, monkeypatch):
    known, new = make_entry(), make_entry("bob")
    append_missing(path, [known])
    monkeypatch.setattr(ledger.os, "access", lambda *arguments: False)
    monkeypatch.setattr(ledger, "open_locked", refuse_to_write)
    assert append_missing(path, [known]) == 0
    with pytest.raises(OSError, match="Read-only"):
        append_missing(path, [known, new])


def refuse_to_write(path):
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
