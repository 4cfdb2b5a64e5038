"""The form of one memory. What it accepts is what the API accepts: the same schemas check it."""

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any

from django import forms
from django.forms.fields import InvalidJSONInput
from django.urls import reverse
from django.utils.html import format_html
from pydantic import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from memories.models import Memory
from memories.schemas import MemoryIn, MemoryPatch

ENTITY = ("entity_system", "entity_id", "entity_type", "entity_name")
FIELDS = (
    "namespace", "content", "summary", "memory_type", "importance", "confidence", "tags", "source_system", "user_id",
    "agent_id", "workflow_id", "repo_id", "session_id", *ENTITY, "expires_at", "data", "metadata",
)  # fmt: skip
TAKEN = {
    "content": "The same content is remembered already, with this type and user.",
    "entity_id": "This entity has a memory already.",
}
MONOSPACE = {"class": "font-mono", "rows": 10, "spellcheck": "false"}


LINE_END = re.compile(r"\r\n?")


class Indented(json.JSONEncoder):
    """JSON that people can read and edit."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"indent": 2})


class Written(forms.CharField):
    """Text kept exactly as it stands. A browser writes every line end in its own way; that changes nothing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strip=False, empty_value=None, **options)

    def to_python(self, value: Any) -> str | None:
        return super().to_python(LINE_END.sub("\n", value) if isinstance(value, str) else value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(initial) != self.to_python(data)


class Tags(forms.CharField):
    """Tags with commas between them."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:
        return [tag for part in (value or "").split(",") if (tag := part.strip())]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Seen as text: a tag that holds a comma must not be cut in two because something else was edited."""
        return self.to_python(self.prepare_value(initial)) != self.to_python(data)


class Json(forms.JSONField):
    """An object. What no JSON reader could keep is an error of the form, whatever the parser makes of it."""

    def __init__(self) -> None:
        super().__init__(required=False, encoder=Indented, widget=UnfoldAdminTextareaWidget(MONOSPACE))

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(self.error_messages["invalid"]) from error

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            value = super().bound_data(data, initial)
            json.dumps(value, ensure_ascii=False).encode()  # what holds a lone surrogate is shown as it was written
            return value
        except (ValueError, RecursionError):
            return InvalidJSONInput(data)

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(value)


class MemoryForm(forms.ModelForm):
    """After cleaning, `payload` holds what the model's verbs take: a whole memory, or only what was changed."""

    content = Written(widget=UnfoldAdminTextareaWidget({"rows": 8}))
    summary = Written(required=False, widget=UnfoldAdminTextareaWidget({"rows": 2}))
    tags = Tags(required=False, widget=UnfoldAdminTextInputWidget, help_text="With commas between them.")
    data = Json()
    metadata = Json()
    payload: MemoryIn | MemoryPatch

    class Meta:
        model = Memory
        fields = FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if isinstance(field, forms.CharField):
                field.strip = False  # a caller's label may begin or end with a space

    def clean_metadata(self) -> dict[str, Any]:
        return {} if self.cleaned_data["metadata"] is None else self.cleaned_data["metadata"]

    def clean(self) -> dict[str, Any]:
        cleaned, adding = super().clean(), self.instance._state.adding
        if not self.errors:
            schema, names = (MemoryIn, cleaned) if adding else (MemoryPatch, self.changed_data)
            try:
                self.payload = schema.model_validate(described(cleaned, names))
            except ValidationError as error:
                self._take_over(error)
        return cleaned

    def _take_over(self, error: ValidationError) -> None:
        for each in error.errors():
            name = "_".join(str(part) for part in each["loc"] if isinstance(part, str))
            known = next((field for field in self.fields if name == field or name.startswith(f"{field}_")), None)
            self.add_error(known, each["msg"].removeprefix("Value error, "))

    def validate_unique(self) -> None:
        """The two promises of uniqueness, told before they are broken, with the memory that stands in the way."""
        if self.errors:
            return
        memory = self.instance
        mine = {"namespace": memory.namespace_id, "user_id": memory.user_id}
        digest = hashlib.sha256(memory.content.encode()).digest()
        if memory.entity_id is not None:
            self._refuse_twin("entity_id", **mine, entity_system=memory.entity_system, entity_id=memory.entity_id)
        else:
            same = {"memory_type": memory.memory_type, "content_hash": digest, "document_id": memory.document_id}
            self._refuse_twin("content", **mine, **same, entity_id=None)

    def _refuse_twin(self, field: str, **identity: Any) -> None:
        twins = Memory.objects.exclude(pk=self.instance.pk).filter(**identity)
        twins.expired().delete()  # nobody can see them any more, so they may be in nobody's way
        if twin := twins.only("pk").first():
            link = reverse("admin:memories_memory_change", args=[twin.pk])
            self.add_error(field, format_html('{} <a href="{}" class="underline">Open it</a>', TAKEN[field], link))


def described(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The values of these fields as the schemas name them."""
    named = {name: values[name] for name in names if name in values and name not in ("namespace", *ENTITY)}
    if not set(ENTITY).isdisjoint(names):
        entity = {name.removeprefix("entity_"): values[name] for name in ENTITY if values[name] is not None}
        named["entity"] = entity or None
    return named
