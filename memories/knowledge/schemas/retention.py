"""Wire shapes of the deletion of outdated memories."""

from ninja import Schema
from pydantic import ConfigDict, Field

from memories.schemas import MemoryPage
from memory_site.core.http.fields import InputSchema

NIGHTLY_DESCRIPTION = "Whether outdated memories of the namespace are deleted every night."


class ForgetOutdatedIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"dry_run": True}})

    dry_run: bool = Field(False, description="Only count.")


class NightlyIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"nightly": True}})

    nightly: bool = Field(description=NIGHTLY_DESCRIPTION)


class NightlyOut(Schema):
    nightly: bool = Field(description=NIGHTLY_DESCRIPTION)


class OutdatedPage(MemoryPage):
    nightly: bool = Field(description=NIGHTLY_DESCRIPTION)
