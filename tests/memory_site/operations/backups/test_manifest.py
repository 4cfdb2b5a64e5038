"""A manifest is read only as it was written."""

import random

import pytest

from memory_site.operations.backups.manifest import identify_signing_key, read_manifest, sign, write_manifest
from memory_site.operations.backups.problems import ForeignManifest, ManifestProblem

MANIFEST = {
    "format": 1,
    "name": "memory-2026-11-30T020000Z",
    "file": "memory-2026-11-30T020000Z.dump",
    "tables": {f"public.table_{number}": {"rows": number, "hash": str(number**9)} for number in range(40)},
    "pinned": False,
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "memory-2026-11-30T020000Z.json"
    write_manifest(path, MANIFEST)
    return path


def test_a_manifest_is_read_as_it_was_written(path):
    assert read_manifest(path) == MANIFEST | {"signed_by": identify_signing_key()}
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == [path.name]


def test_each_of_forty_flipped_bits_is_found_and_named(path):
    data, chance = path.read_bytes(), random.Random(28)
    for _ in range(40):
        at = chance.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :])
        with pytest.raises(ManifestProblem, match=path.name):
            read_manifest(path)


def test_each_of_twenty_cuts_is_found_and_named(path):
    data = path.read_bytes()
    for cut in range(20):
        path.write_bytes(data[: len(data) * cut // 20])
        with pytest.raises(ManifestProblem, match=path.name):
            read_manifest(path)
    path.write_bytes(data[:-1])
    with pytest.raises(ManifestProblem, match=path.name):
        read_manifest(path)


def test_a_manifest_that_means_the_same_in_other_bytes_is_changed(path):
    path.write_bytes(path.read_bytes().replace(b'"pinned": false', b'"pinned":  false'))
    with pytest.raises(ManifestProblem, match="changed after it was written"):
        read_manifest(path)


def test_another_secret_key_is_noticed(path, settings):
    settings.SECRET_KEY = "of another site, which is long enough to be one"
    with pytest.raises(ForeignManifest, match="another SECRET_KEY"):
        read_manifest(path)
    assert read_manifest(path, trust_foreign=True)["name"] == MANIFEST["name"]


def test_a_newer_format_is_refused(path):
    write_manifest(path, MANIFEST | {"format": 2})
    with pytest.raises(ManifestProblem, match="has format 2, and this release knows 1"):
        read_manifest(path)


#: By name: a signature differs in each process.
NO_MANIFESTS = {
    "nothing": b"",
    "an object": b"{}",
    "a list": b"[]\n",
    "zeros": b"\x00" * 100,
    "a signed list": sign(b"[\n 1\n}"),
    "a signed object": sign(b'{\n "name": 1\n}'),
}


@pytest.mark.parametrize("data", NO_MANIFESTS.values(), ids=NO_MANIFESTS)
def test_what_is_no_manifest_is_said(path, data):
    path.write_bytes(data)
    with pytest.raises(ManifestProblem, match=path.name):
        read_manifest(path)


def test_a_missing_manifest_is_said(path):
    path.unlink()
    with pytest.raises(ManifestProblem, match="cannot be read: No such file"):
        read_manifest(path)
