"""The form of a memory. It accepts what the API accepts, because the same schemas validate it."""

import hashlib
from collections.abc import Iterable
from typing import Any

from django import forms
from django.db.models import Func, TextField
from pydantic import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from memories.admin.relationships import is_related
from memories.api.memories import RELATED_MEMORY_DETAIL
from memories.models import Memory
from memories.schemas import KEY_OF_ENTITY, MemoryIn, MemoryPatch
from memories.storage import get_role
from memory_site.core.admin.schema_forms import refuse_duplicate
from memory_site.core.admin.widgets import JSONObjectField, TagsField, VerbatimCharField

ENTITY_FIELDS = ("entity_system", "entity_id", "entity_type", "entity_name")
FORM_FIELDS = (
    "namespace", "content", "summary", "memory_type", "importance", "confidence", "tags", "source_system", "user_id",
    "agent_id", "workflow_id", "repo_id", "session_id", "key", *ENTITY_FIELDS, "expires_at", "data", "metadata",
)  # fmt: skip
DUPLICATE_MESSAGES = {
    "content": "This content is stored already, with this type, user and role.",
    "key": "Another memory of this user has this key.",
    "entity_id": "This entity has a memory already.",
}


class MemoryForm(forms.ModelForm):
    """After cleaning, `payload` is a whole memory for `add_one`, or the changed fields for `edit_memory`."""

    content = VerbatimCharField(widget=UnfoldAdminTextareaWidget({"rows": 8}))
    summary = VerbatimCharField(required=False, widget=UnfoldAdminTextareaWidget({"rows": 2}))
    tags = TagsField(required=False, widget=UnfoldAdminTextInputWidget, help_text="Separated by commas.")
    data = JSONObjectField()
    metadata = JSONObjectField()
    payload: MemoryIn | MemoryPatch

    class Meta:
        model = Memory
        fields = FORM_FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, forms.CharField):
                field.strip = False  # a label of an API caller may begin or end with a space

    def clean_metadata(self) -> dict[str, Any]:
        return {} if self.cleaned_data["metadata"] is None else self.cleaned_data["metadata"]

    def clean_user_id(self) -> str | None:
        user, memory = self.cleaned_data["user_id"], self.instance
        if not memory._state.adding and user != memory.user_id and is_related(memory):
            raise forms.ValidationError(RELATED_MEMORY_DETAIL)
        return user

    def clean(self) -> dict[str, Any]:
        cleaned, adding = super().clean(), self.instance._state.adding
        if not self.errors:
            schema, names = (MemoryIn, cleaned) if adding else (MemoryPatch, self.changed_data)
            try:
                self.payload = schema.model_validate(to_schema_values(cleaned, names))
            except ValidationError as error:
                self._add_schema_errors(error)
        return cleaned

    def _add_schema_errors(self, error: ValidationError) -> None:
        for each in error.errors():
            name = "_".join(str(part) for part in each["loc"] if isinstance(part, str))
            known = next((field for field in self.fields if name == field or name.startswith(f"{field}_")), None)
            self.add_error(known, each["msg"].removeprefix("Value error, "))

    def clean_key(self) -> str | None:
        if (key := self.cleaned_data["key"]) is not None and self.data.get("entity_id"):
            raise forms.ValidationError(f"The two {KEY_OF_ENTITY}.")
        return key

    def validate_unique(self) -> None:
        """Check the unique constraints before saving, and link to the conflicting memory."""
        if self.errors:
            return
        memory = self.instance
        rows = Memory.objects.filter(namespace=memory.namespace_id, user_id=memory.user_id)
        if memory.key is not None:
            field, rows = "key", rows.filter(key=memory.key)
        elif memory.entity_id is not None:
            field, rows = "entity_id", rows.filter(entity_system=memory.entity_system, entity_id=memory.entity_id)
        else:
            digest = hashlib.sha256(memory.content.encode()).digest()
            same = {"memory_type": memory.memory_type, "content_hash": digest, "document_id": memory.document_id}
            role = get_role(memory.metadata)
            rows = rows.alias(role=Func("metadata", function="memories_role", output_field=TextField()))
            field, rows = "content", rows.filter(entity_id=None, key=None, role=role, **same)
        rows.exclude(pk=memory.pk).expired().delete()  # invisible, but they occupy the unique keys
        refuse_duplicate(self, rows, DUPLICATE_MESSAGES[field], field)


def to_schema_values(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return the values of these fields under the names of the schemas."""
    renamed = {name: values[name] for name in names if name in values and name not in ("namespace", *ENTITY_FIELDS)}
    if not set(ENTITY_FIELDS).isdisjoint(names):
        entity = {name.removeprefix("entity_"): values[name] for name in ENTITY_FIELDS if values[name] is not None}
        renamed["entity"] = entity or None
    return renamed
