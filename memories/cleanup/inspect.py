"""Look at memories, and keep what was found of each: its length, what looks like a secret, and what it is like."""

from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db.models import F, Q
from pydantic_core import to_json

from memories.cleanup.models import Inspection
from memories.cleanup.secret_patterns import find_secrets
from memories.insights.minhash import compute_bands, compute_shingles, digest, normalise_text
from memories.models import Memory, MemoryQuerySet

#: What secrets are looked for in. JSON is read as its text.
TEXT_FIELDS, JSON_FIELDS = ("content", "summary"), ("data", "metadata")
READ_FIELDS = ("id", "updated_at", "document_id", "entity_id", "key", *TEXT_FIELDS, *JSON_FIELDS)
DIGEST_BYTES = 8
#: Of `Inspection.bands`: 20 bands of 8 bytes and the beginning of the digest.
BANDS_BYTES = 8 * 20 + DIGEST_BYTES


def is_outdated() -> Q:
    """Return the condition on a memory that no look has covered since its last change."""
    return Q(inspection=None) | ~Q(inspection__memory_updated_at=F("updated_at"))


def inspect(namespace_id: int, ids: Sequence[UUID]) -> None:
    """Look at these memories, and replace what is known of them."""
    memories = Memory.objects.filter(namespace_id=namespace_id, pk__in=ids).values(*READ_FIELDS)
    Inspection.objects.bulk_create(
        [build_inspection(namespace_id, memory) for memory in memories],
        update_conflicts=True,
        unique_fields=["namespace", "memory"],
        update_fields=["memory_updated_at", "characters", "secrets", "bands"],
    )


def build_inspection(namespace_id: int, memory: dict[str, Any]) -> Inspection:
    # Chunks are replaced when their file is read again; an entity has one memory by its id, and a key has its own.
    is_candidate = all(memory[name] is None for name in ("document_id", "entity_id", "key"))
    return Inspection(
        namespace_id=namespace_id,
        memory_id=memory["id"],
        memory_updated_at=memory["updated_at"],
        characters=len(memory["content"]),
        secrets=find_kinds(memory),
        bands=compute_key(memory["content"]) if is_candidate else None,
    )


def find_kinds(memory: dict[str, Any]) -> list[str]:
    return sorted({secret.kind for text in iter_texts(memory) for secret in find_secrets(text)})


def iter_texts(memory: dict[str, Any]) -> Iterable[str]:
    """Yield the texts of a memory, given as a row of READ_FIELDS."""
    for name in TEXT_FIELDS:
        if memory[name]:
            yield memory[name]
    for name in JSON_FIELDS:
        if memory[name]:
            yield to_json(memory[name]).decode()


def compute_key(content: str) -> bytes:
    """Return the bands and the digest by which texts that are alike are found."""
    plain = normalise_text(content)
    bands = b"".join(band.to_bytes(8, "little", signed=True) for band in compute_bands(compute_shingles(plain)))
    return bands + digest(plain)[:DIGEST_BYTES]


def select_outdated(memories: MemoryQuerySet) -> MemoryQuerySet:
    return memories.filter(is_outdated())
