"""Wire shape of the deletion of outdated memories."""

from pydantic import ConfigDict

from memory_site.core.http.fields import InputSchema


class ForgetOutdatedIn(InputSchema):
    model_config = ConfigDict(json_schema_extra={"example": {"dry_run": True}})

    dry_run: bool = False
