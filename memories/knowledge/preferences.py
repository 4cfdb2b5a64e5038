"""Upsert of a preference in one statement."""

from typing import Any

from pydantic_core import to_json

from memories.knowledge.models import Preference
from memories.knowledge.schemas.preferences import PREFERENCE_COLUMNS, PreferenceIn
from memory_site.core.db.ids import uuid7

# Fields that are not given keep their value.
UPSERT_PREFERENCE_SQL = """
INSERT INTO knowledge_preference AS existing
    (id, namespace_id, user_id, key, value, confidence, source, created_at, updated_at)
VALUES (%(id)s::uuid, %(namespace)s, %(user_id)s, %(key)s, %(value)s::jsonb, coalesce(%(confidence)s::float8, 1),
        coalesce(%(source)s::text, 'api'), statement_timestamp(), statement_timestamp())
ON CONFLICT (namespace_id, user_id, key) DO UPDATE SET
    value = excluded.value,
    confidence = coalesce(%(confidence)s::float8, existing.confidence),
    source = coalesce(%(source)s::text, existing.source),
    updated_at = greatest(existing.updated_at, excluded.updated_at)
RETURNING *
"""


def upsert_preference(namespace_id: int, user_id: str, key: str, payload: PreferenceIn) -> tuple[dict[str, Any], bool]:
    """Store a user's preference. Return the fields of PreferenceOut and whether it is new."""
    given = payload.model_dump(include={"confidence", "source"} & payload.model_fields_set)
    parameters = {"confidence": None, "source": None, **given, "user_id": user_id, "key": key, "id": uuid7()}
    parameters |= {"namespace": namespace_id, "value": to_json(payload.value).decode()}
    [preference] = Preference.objects.raw(UPSERT_PREFERENCE_SQL, parameters)
    return {name: getattr(preference, name) for name in PREFERENCE_COLUMNS}, preference.pk == parameters["id"]
