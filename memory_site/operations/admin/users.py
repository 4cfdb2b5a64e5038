"""The console's pages of users and groups."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as PlainGroupAdmin
from django.contrib.auth.admin import UserAdmin as PlainUserAdmin
from django.contrib.auth.models import Group, User
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from memory_site.core.admin.base import BaseAdmin

for model in (User, Group):
    admin.site.unregister(model)


@admin.register(User)
class UserAdmin(PlainUserAdmin, BaseAdmin):
    empty_text = "Accounts of the people who use this console."
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    compressed_fields = False  # the choice of permissions needs the page's full width
    list_filter = ()


@admin.register(Group)
class GroupAdmin(PlainGroupAdmin, BaseAdmin):
    empty_text = "A group gives its permissions to its accounts."
    compressed_fields = False
