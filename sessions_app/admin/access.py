"""Console pages of API keys. Those of namespaces show rows of every app, and are in memory_site/operations/admin."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget, UnfoldAdminSelectWidget

from memory_site.core.admin.base import BaseAdmin
from memory_site.core.admin.formatting import format_datetime, format_number
from sessions_app.admin.namespaces import NamespaceFilter
from sessions_app.models import KEY_PREFIX, READ, SCOPES, WRITE, ApiKey, KeyNotRotated

SCOPE_LABELS = {
    "read": "read: list and search",
    "write": "write: add and delete; with read also change and recall",
    "admin": "admin: everything",
}
STATE_COLOURS = {"active": "success", "expired": "warning", "revoked": "danger"}


class ApiKeyForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=[(scope, SCOPE_LABELS[scope]) for scope in SCOPES],
        initial=[READ, WRITE],
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
    )

    class Meta:
        model = ApiKey
        fields = ("namespace", "name", "scopes", "expires_at")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        if "name" in self.fields:  # not for a viewer, who gets no field
            self.fields["name"].required = True

    def clean_expires_at(self) -> datetime | None:
        expires_at = self.cleaned_data["expires_at"]
        if expires_at and "expires_at" in self.changed_data and expires_at <= timezone.now():
            raise forms.ValidationError("This time is in the past.")
        return expires_at


class RevokeConfirmationForm(BaseDialogForm):
    """A form without fields: submitting it is the confirmation."""


class RotationForm(forms.Form):
    """How long the old key goes on."""

    grace = forms.ChoiceField(
        label="The old key works for another",
        choices=[("1", "hour"), ("24", "day"), ("168", "week"), ("720", "30 days"), ("0", "moment: it ends at once")],
        initial="24",
        widget=UnfoldAdminSelectWidget,
    )


def get_key_state(key: ApiKey) -> str:
    if key.revoked_at:
        return "revoked"
    return "expired" if key.expires_at and key.expires_at <= timezone.now() else "active"


@admin.register(ApiKey)
class ApiKeyAdmin(BaseAdmin):
    empty_text = "Agents reach their namespace with a key: create one here, or with manage.py create_api_key."
    form = ApiKeyForm
    list_display = ("name", "key", "namespace", "allowed", "state", "last_used", "calls_made", "expires", "created")
    list_display_links = ("name",)
    list_select_related = ("namespace",)
    list_filter = (NamespaceFilter,)
    search_fields = ("id", "name", "namespace__name")
    autocomplete_fields = ("namespace",)
    ordering = ("-created_at", "pk")
    actions = None
    actions_row = actions_detail = ("rotate", "revoke")
    readonly_fields = ("key", "state", "created", "created_by", "last_used", "calls_made", "revoked", "revoked_by")
    add_fieldsets = ((None, {"fields": ("namespace", "name", "scopes", "expires_at")}),)
    fieldsets = (
        (None, {"fields": (("key", "state"), "namespace", "name", "scopes", "expires_at")}),
        ("Use", {"fields": (("last_used", "calls_made"), ("created", "created_by"), ("revoked", "revoked_by"))}),
    )

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """Make the namespace of a key read-only: a change would give its owner access to another namespace."""
        return (*self.readonly_fields, "namespace") if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Refuse: keys are revoked instead, so that they stay on record."""
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: ApiKeyForm, change: bool) -> None:
        if change:
            return super().save_model(request, obj, form, change)
        key, obj.token = ApiKey.objects.issue(
            obj.namespace, name=obj.name, scopes=tuple(obj.scopes), expires_at=obj.expires_at
        )
        obj.pk, obj._state.adding = key.pk, False

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Show the token in this response only: it is never put into a message, a session or a cookie."""
        context = {
            **self.admin_site.each_context(request),
            "title": "New API key",
            "opts": self.opts,
            "key": obj,
            "address": reverse("admin:sessions_app_apikey_change", args=[obj.pk]),
        }
        return TemplateResponse(request, "admin/sessions_app/apikey/issued.html", context)

    @action(description="Rotate", icon="autorenew", permissions=["change"])
    def rotate(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask for the grace time, and show the new token in this response only."""
        key, form = self.get_object(request, object_id), RotationForm(request.POST or None)
        if key is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if request.method == "POST" and form.is_valid():
            try:
                new, token = ApiKey.objects.rotate(key, timedelta(hours=int(form.cleaned_data["grace"])))
            except KeyNotRotated:
                messages.error(request, "Only a key that works, and was not rotated yet, can be rotated.")
                return HttpResponseRedirect(reverse("admin:sessions_app_apikey_changelist"))
            new.token = token
            self.log_addition(request, new, f"Replaces {key}.")
            return self.response_add(request, new)
        context = {**self.admin_site.each_context(request), "title": f"Rotate {key.name or key}", "opts": self.opts}
        return TemplateResponse(request, "admin/sessions_app/apikey/rotate.html", context | {"key": key, "form": form})

    @action(
        description="Revoke",
        icon="block",
        variant=ActionVariant.DANGER,
        permissions=["change"],
        dialog={
            "title": "Revoke this key?",
            "description": "Requests with this key are refused within a second. This cannot be undone.",
            "form_class": RevokeConfirmationForm,
            "form_submit_text": "Revoke",
        },
    )
    def revoke(self, request: HttpRequest, form: RevokeConfirmationForm, object_id: str) -> HttpResponse:
        key = self.get_object(request, object_id)
        if key and key.revoke():
            self.log_change(request, key, "Revoked.")
            messages.success(request, f"{key} is revoked.")
        else:
            messages.warning(request, "The key was already revoked.")
        return HttpResponse(headers={"HX-Redirect": reverse("admin:sessions_app_apikey_changelist")})

    @display(description="key", ordering="id")
    def key(self, key: ApiKey) -> str:
        return str(key)

    @display(description="scopes")
    def allowed(self, key: ApiKey) -> str:
        return ", ".join(key.scopes)

    @display(description="state", label=STATE_COLOURS, ordering="revoked_at")
    def state(self, key: ApiKey) -> str:
        return get_key_state(key)

    @display(description="last used", empty_value="never", ordering="last_used_at")
    def last_used(self, key: ApiKey) -> SafeString | None:
        if key.last_used_at is None:
            return None
        return format_html(
            "{}{}", format_datetime(key.last_used_at), f" from {key.last_address}" * bool(key.last_address)
        )

    @display(description="calls", empty_value="-")
    def calls_made(self, key: ApiKey) -> str | None:
        today = timezone.now().date()
        days = [(today - timedelta(days=age)).isoformat() for age in range(7)]
        counts = [key.calls.get(day, 0) for day in days]
        if not any(counts):
            return None
        # The column is narrow: it breaks between the two.
        parts = f"{format_number(counts[0])} today,", f"{format_number(sum(counts))} in 7 days"
        return " ".join(part.replace(" ", "\N{NO-BREAK SPACE}") for part in parts)

    @display(description="revoked")
    def revoked(self, key: ApiKey) -> SafeString | None:
        return format_datetime(key.revoked_at)

    @display(description="expires", empty_value="never", ordering="expires_at")
    def expires(self, key: ApiKey) -> SafeString | None:
        if key.replaced_by_id is None:
            return format_datetime(key.expires_at)
        return format_html("{}, replaced by {}{}_…", format_datetime(key.expires_at), KEY_PREFIX, key.replaced_by_id)

    @display(description="created", ordering="created_at")
    def created(self, key: ApiKey) -> SafeString | None:
        return format_datetime(key.created_at)
