"""Response schemas of keys."""

from datetime import datetime
from typing import Literal

from ninja import Schema
from pydantic import ConfigDict, Field

from sessions_app.models import KEY_PREFIX, SCOPES

ScopeName = Literal[*SCOPES]  # type: ignore[valid-type]  # built from the tuple; any value to mypy


class NamespaceOut(Schema):
    id: int = Field(description="Its id, which stays when it is renamed.")
    name: str = Field(description="Its name.")


class KeyOut(Schema):
    """The key of the request, without its secret."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": f"{KEY_PREFIX}0123456789abcdef",
                "name": "dashboard",
                "scopes": ["read"],
                "expires_at": None,
                "namespace": {"id": 5012345678901234, "name": "team-a"},
                "site": "1c3f0e5a9b7d2846",
            }
        }
    )

    id: str = Field(description="What the key begins with, up to its secret. The history names keys by it.")
    name: str = Field(description="What the key is for; empty when nothing was said.")
    scopes: list[ScopeName] = Field(description="What the key allows.")
    expires_at: datetime | None = Field(description="From this moment on the key does not work; null for never.")
    namespace: NamespaceOut = Field(description="The namespace that the key opens.")
    site: str = Field(
        description="The database behind the site. Every server process and every key of a site answers with the same, "
        "another site and a backup of this one that was restored elsewhere with another."
    )
