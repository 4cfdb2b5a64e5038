"""Form fields that several pages of the console use."""

import json
import re
from typing import Any

from django import forms
from django.forms.fields import InvalidJSONInput
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from memory_site.core.http.json_numbers import restore_floats

MONOSPACE_ATTRS = {"class": "font-mono", "rows": 10, "spellcheck": "false"}


LINE_ENDING = re.compile(r"\r\n?")


class IndentedJSONEncoder(json.JSONEncoder):
    """JSON indented for reading and editing."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"indent": 2})


class VerbatimCharField(forms.CharField):
    """Text saved verbatim, except that browsers' line endings become newlines."""

    def __init__(self, **options: Any) -> None:
        super().__init__(strip=False, empty_value=None, **options)

    def to_python(self, value: Any) -> str | None:
        return super().to_python(LINE_ENDING.sub("\n", value) if isinstance(value, str) else value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return self.to_python(initial) != self.to_python(data)


class TagsField(forms.CharField):
    """Tags separated by commas."""

    def prepare_value(self, value: Any) -> Any:
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:
        return [tag for part in (value or "").split(",") if (tag := part.strip())]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare as text, so that a tag with a comma is not split when another field is edited."""
        return self.to_python(self.prepare_value(initial)) != self.to_python(data)


class JSONObjectField(forms.JSONField):
    """A JSON object. A value that cannot be represented exactly is an error of the form."""

    def __init__(self) -> None:
        super().__init__(required=False, encoder=IndentedJSONEncoder, widget=UnfoldAdminTextareaWidget(MONOSPACE_ATTRS))

    def to_python(self, value: Any) -> Any:
        try:
            return super().to_python(value)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(self.error_messages["invalid"]) from error

    def bound_data(self, data: Any, initial: Any) -> Any:
        try:
            value = super().bound_data(data, initial)
            json.dumps(value, ensure_ascii=False).encode()  # fails for a lone surrogate, which is shown as it was sent
            return value
        except (ValueError, RecursionError):
            return InvalidJSONInput(data)

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else super().prepare_value(restore_floats(value))


class LinesField(TagsField):
    """Texts, one per line."""

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:
        return [text for line in LINE_ENDING.sub("\n", value or "").split("\n") if (text := line.strip())]


def make_text_field(rows: int = 3) -> VerbatimCharField:
    return VerbatimCharField(required=False, widget=UnfoldAdminTextareaWidget({"rows": rows}))


def make_tags_field(**options: Any) -> TagsField:
    return TagsField(
        **{"required": False} | options, widget=UnfoldAdminTextInputWidget, help_text="Separated by commas."
    )
