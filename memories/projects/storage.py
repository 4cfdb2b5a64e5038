"""Insert or update groups and dependencies of projects."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.utils import timezone

from memories.insights.models import ProjectDependency, ProjectGroup
from memories.insights.redaction import redact_project_name


def map_redacted_names(projects: Iterable[str]) -> dict[str, str]:
    """Return {true name: redacted name} of the projects whose names look secret."""
    return {name: redact_project_name(name) for name in projects if redact_project_name(name) != name}


def upsert_project_record(
    model: type[ProjectGroup] | type[ProjectDependency],
    namespace_id: int,
    key: dict[str, Any],
    values: dict[str, Any],
) -> tuple[UUID, bool]:
    """Insert a row, or set the given values of the row with this key; return its id and whether it is new."""
    row, created = model.objects.update_or_create(
        namespace_id=namespace_id,
        **key,
        defaults=values | {"updated_at": timezone.now()},
        create_defaults=values,
    )
    return row.pk, created
