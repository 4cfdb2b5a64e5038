"""Damage of a backup's files is found, and the file is named."""

import random

import pytest

from memory_site.operations.backups.encryption import decrypt_file
from memory_site.operations.backups.folder import check_file, read_stored
from memory_site.operations.backups.problems import DamagedBackup
from tests.memory_site.operations.backups.conftest import KEY

pytestmark = pytest.mark.django_db(transaction=True)
FLIPS, CUTS = 40, 20


@pytest.mark.parametrize("kind", ["plain", "encrypted"])
def test_forty_flipped_bits_and_twenty_cuts_of_the_dump_are_found(copy, kind):
    stored, chance = copy(kind), random.Random(30)
    data = stored.path.read_bytes()
    check_file(stored)
    for _ in range(FLIPS):
        at = chance.randrange(len(data))
        stored.path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        with pytest.raises(DamagedBackup, match=f"{stored.path.name} is damaged"):
            check_file(stored)
    for cut in range(CUTS):
        stored.path.write_bytes(data[: len(data) * cut // CUTS])
        found = read_stored(stored.directory, stored.name)
        assert (found.state, stored.path.name in found.message) == ("bad", True)
        with pytest.raises(DamagedBackup, match=stored.path.name):
            check_file(found)


@pytest.mark.parametrize("kind", ["plain", "encrypted"])
def test_forty_flipped_bits_and_twenty_cuts_of_the_manifest_are_found(copy, kind):
    stored, chance = copy(kind), random.Random(31)
    path, data = stored.manifest_path, stored.manifest_path.read_bytes()
    flips = [(chance.randrange(len(data)), 1 << chance.randrange(8)) for _ in range(FLIPS)]
    broken = [data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :] for at, bit in flips]
    for each in [*broken, *(data[: len(data) * cut // CUTS] for cut in range(CUTS))]:
        path.write_bytes(each)
        found = read_stored(stored.directory, stored.name)
        assert found.state in ("bad", "foreign")
        assert path.name in found.message
        with pytest.raises(DamagedBackup, match=path.name):
            check_file(found)


def test_the_encryption_finds_damage_that_a_new_manifest_hides(copy, settings):
    stored, settings.BACKUP_ENCRYPTION_KEYS = copy("encrypted"), [KEY]
    data = stored.path.read_bytes()
    for at in range(0, len(data), len(data) // 20):
        stored.path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(Exception, match=stored.path.name):
            list(decrypt_file(stored.path))


def test_a_missing_file_and_a_manifest_of_another_backup_are_named(copy):
    stored, other = copy("plain"), copy("changed")
    other.manifest_path.write_bytes(stored.manifest_path.read_bytes())
    assert "is the manifest of another backup" in read_stored(other.directory, other.name).message
    stored.path.unlink()
    assert read_stored(stored.directory, stored.name).message == f"{stored.path.name} is missing."
