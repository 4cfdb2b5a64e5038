"""Admin pages of preferences."""

from typing import Annotated, Any

from django import forms
from django.contrib import admin
from django.db.models import JSONField, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Left
from django.forms.fields import InvalidJSONInput
from django.http import HttpRequest
from django.utils.safestring import SafeString
from pydantic import AfterValidator
from unfold.decorators import display

from memories.knowledge.models import Preference
from memories.knowledge.schemas.fields import JsonValue
from memories.knowledge.schemas.preferences import PreferenceIn
from memory_site.core.admin.base import CappedChangeList
from memory_site.core.admin.filters import UserFilter
from memory_site.core.admin.formatting import render_json, render_name_cell, truncate
from memory_site.core.admin.schema_forms import SchemaAdmin, SchemaForm, filter_newest
from memory_site.core.admin.widgets import JSONObjectField
from memory_site.core.http.fields import InputSchema, Label, UnitInterval
from sessions_app.admin.namespaces import NamespaceFilter

VALUE_PREVIEW_LENGTH = 160
JSON_NULL = Value(None, JSONField())


def reject_slash(key: str) -> str:
    if "/" in key:
        raise ValueError("may not contain a slash: in a URL the key begins after the last one")
    return key


class NewPreference(PreferenceIn):
    user_id: Label
    key: Annotated[Label, AfterValidator(reject_slash)]


class PreferencePatch(InputSchema):
    value: JsonValue = None
    confidence: UnitInterval = None
    source: Label = None


class AnyJsonField(JSONObjectField):
    """A field for any JSON value, null included; an empty text is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.help_text = "Any JSON value; quote a text."

    def to_python(self, value: Any) -> Any:
        if isinstance(value, str) and not value.strip():
            raise forms.ValidationError(self.error_messages["required"], code="required")
        return super().to_python(value)

    def prepare_value(self, value: Any) -> Any:
        return forms.JSONField.prepare_value(self, value)


class PreferenceForm(SchemaForm):
    whole, part = NewPreference, PreferencePatch
    identity = ("namespace", "user_id", "key")
    taken = "This user already has a preference under this key."
    value = AnyJsonField()

    class Meta:
        model = Preference
        fields = ("namespace", "user_id", "key", "value", "confidence", "source")


class PreferenceList(CappedChangeList):
    def get_results(self, request: HttpRequest) -> None:
        """Read only the beginning of each value, which may be large."""
        beginning = Left(Cast("value", TextField()), VALUE_PREVIEW_LENGTH)
        self.queryset = self.queryset.annotate(value_beginning=beginning).defer("value")
        super().get_results(request)


@admin.register(Preference)
class PreferenceAdmin(SchemaAdmin):
    empty_text = "API clients store preferences of their users."
    form = PreferenceForm
    list_display = ("called", "user_id", "namespace", "value_shortened", "confidence_shown", "source", "updated")
    list_display_links = ("called",)
    list_filter = (NamespaceFilter, UserFilter)
    list_before_template = "admin/knowledge/preference/list_intro.html"
    search_fields = ("key",)  # shows the search box; get_search_results does the search
    search_help_text = "User or key, or a part of it"
    fixed = ("namespace", "user_id", "key")
    readonly_fields = ("created", "updated", "value_shown")
    add_fieldsets = ((None, {"fields": ("namespace", ("user_id", "key"), "value", ("confidence", "source"))}),)
    fieldsets = (
        (None, {"fields": (("user_id", "key"), "namespace", "value_shown", ("confidence", "source"))}),
        ("Edit value", {"fields": ("value",), "classes": ("collapse",)}),
        ("Record", {"fields": (("created", "updated"),)}),
    )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[PreferenceList]:
        return PreferenceList

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        text = search_term.strip()
        matches = Q(key__icontains=text) | Q(user_id__icontains=text)
        return (filter_newest(queryset, matches) if text else queryset), False

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        empty = InvalidJSONInput("")  # None would be shown as null
        return {"source": "admin", "value": empty} | super().get_changeform_initial_data(request)

    def save_model(self, request: HttpRequest, obj: Preference, form: PreferenceForm, change: bool) -> None:
        """Store null as JSON null: Django would store SQL NULL."""
        if form.cleaned_data.get("value") is None:
            obj.value = form.cleaned_data["value"] = JSON_NULL
        super().save_model(request, obj, form, change)

    @display(description="preference", ordering="key")
    def called(self, preference: Preference) -> SafeString:
        return render_name_cell(preference.key)

    @display(description="value", ordering="value")
    def value_shortened(self, preference: Preference) -> str:
        return truncate(preference.value_beginning, 60)

    @display(description="confidence", ordering="confidence")
    def confidence_shown(self, preference: Preference) -> str:
        return f"{preference.confidence:.2f}"

    @display(description="value")
    def value_shown(self, preference: Preference) -> SafeString:
        return render_json(preference.value)
