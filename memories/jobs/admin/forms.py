"""The forms of actions: what the page asks for, as the action's parameters."""

from datetime import UTC
from typing import Any

from django import forms
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from memories.memory_types import Importance, MemoryType
from memory_site.core.admin.widgets import make_tags_field
from sessions_app.models import Namespace

MOMENT_ATTRS = {"type": "datetime-local"}
MAX_LABEL_LENGTH = 255


class ActionForm(forms.Form):
    """An action that asks for nothing."""

    def build_parameters(self) -> dict[str, Any]:
        """Return the parameters as JSON, from the cleaned data."""
        return dict(self.cleaned_data)


class TagsForm(ActionForm):
    tags = make_tags_field(required=True)


class ImportanceForm(ActionForm):
    importance = forms.TypedChoiceField(
        coerce=int,
        choices=[(level.value, f"{level.value} {level.name}") for level in Importance],
        initial=Importance.HIGH.value,
        widget=UnfoldAdminSelectWidget,
    )


class ExpiryForm(ActionForm):
    expires_at = forms.DateTimeField(
        label="Expires at (UTC)",
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
        widget=UnfoldAdminTextInputWidget(MOMENT_ATTRS),
        help_text="Empty: they never expire. What has expired is not in the trash.",
    )

    def build_parameters(self) -> dict[str, Any]:
        moment = self.cleaned_data["expires_at"]
        return {"expires_at": moment and moment.replace(tzinfo=UTC).isoformat()}


class TypeForm(ActionForm):
    memory_type = forms.ChoiceField(
        label="Type",
        choices=[(kind.value, kind.value.replace("_", " ")) for kind in MemoryType],
        widget=UnfoldAdminSelectWidget,
    )


class UserForm(ActionForm):
    user_id = forms.CharField(
        label="User",
        required=False,
        max_length=MAX_LABEL_LENGTH,
        widget=UnfoldAdminTextInputWidget,
        help_text="Empty: they belong to no user.",
    )

    def build_parameters(self) -> dict[str, Any]:
        return {"user_id": self.cleaned_data["user_id"] or None}


class MoveForm(ActionForm):
    namespace = forms.ModelChoiceField(
        Namespace.objects.all(),
        to_field_name="name",
        label="To the namespace",
        widget=UnfoldAdminTextInputWidget,
        error_messages={"invalid_choice": "There is no such namespace."},
        help_text="Its name.",
    )

    def build_parameters(self) -> dict[str, Any]:
        return {"namespace_id": self.cleaned_data["namespace"].pk}


class ExportForm(ActionForm):
    format = forms.ChoiceField(
        choices=[("jsonl", "JSON Lines, for import_memories"), ("csv", "CSV, for a spreadsheet")],
        widget=UnfoldAdminSelectWidget,
    )
    vectors = forms.BooleanField(
        label="With vectors",
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="JSON Lines only. Without them the memories are embedded again after an import.",
    )


#: By the action's name; an action that is not here asks for nothing.
FORMS: dict[str, type[ActionForm]] = {
    "tag": TagsForm,
    "untag": TagsForm,
    "set_importance": ImportanceForm,
    "expire": ExpiryForm,
    "set_type": TypeForm,
    "set_user": UserForm,
    "move": MoveForm,
    "export": ExportForm,
}


class ConfirmationForm(forms.Form):
    """The name that is typed before a destructive action. Without an answer to give it asks for nothing."""

    def __init__(self, answer: str | None, data: Any = None) -> None:
        super().__init__(data)
        self.answer = answer
        if answer is not None:
            self.fields["typed"] = forms.CharField(
                label=f"Type “{answer}” to confirm",
                strip=True,
                widget=UnfoldAdminTextInputWidget({"autocomplete": "off", "autocapitalize": "off"}),
            )

    def clean(self) -> dict[str, Any]:
        data = super().clean() or {}
        if self.answer is not None and data.get("typed") not in (None, self.answer):
            self.add_error("typed", "This is not the name. Nothing was started.")
        return data


def make_form(action: str, data: Any = None) -> ActionForm:
    return FORMS.get(action, ActionForm)(data)
