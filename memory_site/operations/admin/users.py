"""The console's pages of accounts and groups."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import AdminPasswordChangeForm, BaseDialogForm, UserChangeForm, UserCreationForm
from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget

from memory_site.core.admin.base import BaseAdmin
from memory_site.core.admin.formatting import format_datetime
from memory_site.operations.access.events import record
from memory_site.operations.access.lockouts import unlock
from memory_site.operations.access.models import EventKind
from memory_site.operations.access.second_factor import reset_second_factor
from memory_site.operations.access.sessions import end_sessions

for model in (User, Group):
    admin.site.unregister(model)

ACCOUNT_COLOURS = {"active": "success", "switched off": "danger"}


class AccountCreationForm(UserCreationForm):
    """The first page of an account: a name, a password and what it may do."""

    groups = forms.ModelMultipleChoiceField(
        Group.objects.order_by("name"),
        required=False,
        label="Roles",
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="“viewer” sees and changes nothing. Without a role the account logs in and sees nothing.",
    )


class ConfirmationForm(BaseDialogForm):
    """A form without fields: submitting it is the confirmation."""


def describe_dialog(title: str, description: str, button: str) -> dict[str, Any]:
    return {
        "title": title,
        "description": description,
        "form_class": ConfirmationForm,
        "form_submit_text": button,
    }


@admin.register(User)
class UserAdmin(PlainUserAdmin, BaseAdmin):
    empty_text = "Accounts of the people who use this console."
    form = UserChangeForm
    add_form = AccountCreationForm
    add_fieldsets = ((None, {"fields": ("username", "usable_password", "password1", "password2", "groups")}),)
    change_password_form = AdminPasswordChangeForm
    compressed_fields = False  # the choice of permissions needs the page's full width
    list_display = ("username", "roles", "state", "second_factor", "sessions", "seen")
    list_filter = ()
    ordering = ("username",)
    sortable_by = ("username", "seen")
    actions_row = actions_detail = ("end_all_sessions", "unlock_login", "reset_factor")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        going_on = Q(console_sessions__expire_date__gt=timezone.now())
        factor = TOTPDevice.objects.filter(user=OuterRef("pk"), confirmed=True)
        accounts = super().get_queryset(request).prefetch_related("groups")
        return accounts.annotate(session_count=Count("console_sessions", filter=going_on), has_factor=Exists(factor))

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Have superusers made by superusers only."""
        fields = tuple(super().get_readonly_fields(request, obj))
        return fields if request.user.is_superuser else (*fields, "is_superuser", "user_permissions")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Refuse for an account that has done anything: the log of that would be deleted along."""
        allowed = super().has_delete_permission(request, obj) and may_touch(request, obj)
        return allowed and not (obj and LogEntry.objects.filter(user=obj).exists())

    def has_manage_permission(self, request: HttpRequest, object_id: str | None = None) -> bool:
        """Check the permission of an action, which is given the id only; `find` looks at the account."""
        return request.user.has_perm("auth.change_user")

    def save_model(self, request: HttpRequest, obj: User, form: forms.ModelForm, change: bool) -> None:
        """Let a new account log in to the console, which is what accounts are for."""
        obj.is_staff = obj.is_staff or not change
        super().save_model(request, obj, form, change)

    def get_actions(self, request: HttpRequest) -> dict:
        """Leave out Django's deletion of many, which would not ask for each."""
        return {name: each for name, each in super().get_actions(request).items() if name != "delete_selected"}

    @display(description="roles")
    def roles(self, account: User) -> str:
        names = [group.name for group in account.groups.all()]
        return ", ".join(["superuser"] * account.is_superuser + sorted(names)) or "-"

    @display(description="state", label=ACCOUNT_COLOURS)
    def state(self, account: User) -> str:
        return "active" if account.is_active else "switched off"

    @display(description="second factor", boolean=False)
    def second_factor(self, account: User) -> str:
        return "set up" if account.has_factor else "-"

    @display(description="sessions")
    def sessions(self, account: User) -> str:
        return str(account.session_count or "-")

    @display(description="last login", ordering="last_login", empty_value="never")
    def seen(self, account: User) -> SafeString | None:
        return format_datetime(account.last_login)

    @action(
        description="End all sessions",
        icon="logout",
        permissions=["manage"],
        dialog=describe_dialog("End all sessions of this account?", "It has to log in again everywhere.", "End"),
    )
    def end_all_sessions(self, request: HttpRequest, form: ConfirmationForm, object_id: str) -> HttpResponse:
        if (account := self.find(request, object_id)) and (count := end_sessions(account)):
            record(EventKind.SESSION_ENDED, request=request, subject=account.username)
            messages.success(request, f"Ended: {count} of {account}.")
        return go_back()

    @action(
        description="Unlock the login",
        icon="lock_open",
        permissions=["manage"],
        dialog=describe_dialog(
            "Unlock the login of this account?", "Its failed logins are forgotten, from all addresses.", "Unlock"
        ),
    )
    def unlock_login(self, request: HttpRequest, form: ConfirmationForm, object_id: str) -> HttpResponse:
        if account := self.find(request, object_id):
            unlock(account.username)
            record(EventKind.UNLOCKED, request=request, subject=account.username)
            messages.success(request, f"{account} can log in again.")
        return go_back()

    @action(
        description="Reset the second factor",
        icon="phonelink_erase",
        variant=ActionVariant.DANGER,
        permissions=["manage"],
        dialog=describe_dialog(
            "Take the second factor off this account?", "Its password alone lets it in, to set up a new one.", "Reset"
        ),
    )
    def reset_factor(self, request: HttpRequest, form: ConfirmationForm, object_id: str) -> HttpResponse:
        if (account := self.find(request, object_id)) and reset_second_factor(account):
            record(EventKind.SECOND_FACTOR_RESET, request=request, subject=account.username)
            messages.success(request, f"The second factor of {account} is reset.")
        return go_back()

    def find(self, request: HttpRequest, object_id: str) -> User | None:
        """Return the account of an action, or None, with a message, if it is none of this user's business."""
        account = self.get_object(request, object_id)
        if account is None or not may_touch(request, account):
            messages.error(request, "Only a superuser changes the account of a superuser.")
            return None
        return account


def may_touch(request: HttpRequest, account: User | None) -> bool:
    """Return whether an account is no superuser's, or is touched by one."""
    return account is None or request.user.is_superuser or not account.is_superuser


def go_back() -> HttpResponse:
    return HttpResponse(headers={"HX-Redirect": reverse("admin:auth_user_changelist")})


@admin.register(Group)
class GroupAdmin(PlainGroupAdmin, BaseAdmin):
    empty_text = "A group gives its permissions to its accounts."
    compressed_fields = False
