"""What the pages of sessions and conversations share: the namespace, what was said, ways from one to another."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.http import urlencode
from unfold.admin import ModelAdmin
from unfold.contrib.filters.forms import AutocompleteDropdownForm

from sessions_app.models import Namespace, SessionMemory

#: A text longer than this, in characters or in lines, is folded up.
MAX_UNFOLDED_LENGTH, MAX_UNFOLDED_LINES = 1_200, 16
PREVIEW_LENGTH = 500


def get_requested_namespace(request: HttpRequest) -> Namespace | None:
    """The namespace named in the address, if one is. Raises ValidationError when there is no such."""
    return forms.ModelChoiceField(Namespace.objects.all(), required=False).clean(request.GET.get("namespace", ""))


def build_namespace_form(request: HttpRequest, model_admin: ModelAdmin, chosen: Namespace | None) -> forms.Form:
    """Names are looked up while one is typed: there may be more namespaces than a menu can hold."""
    return AutocompleteDropdownForm(
        request=request,
        name="namespace",
        label="By namespace",
        choices=(),
        field=SessionMemory._meta.get_field("namespace"),
        model_admin=model_admin,
        data={"namespace": chosen and chosen.pk},
    )


class NamespaceFilter(admin.SimpleListFilter):
    title, parameter_name = "namespace", "namespace"
    template = "unfold/filters/filters_field.html"
    form_class = AutocompleteDropdownForm  # the list takes its scripts from here

    def __init__(self, request: HttpRequest, params: dict, model: type, model_admin: ModelAdmin) -> None:
        super().__init__(request, params, model, model_admin)
        try:
            self.chosen, self.known = get_requested_namespace(request), True
        except forms.ValidationError:
            self.chosen, self.known = None, False
        self.form = build_namespace_form(request, model_admin, self.chosen)

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> tuple:
        return ()

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        yield {"form": self.form}

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if not self.known:
            return queryset.none()
        return queryset.filter(namespace=self.chosen) if self.chosen else queryset


def build_text_block(role: str, text: str | None, at: str, **more: Any) -> dict[str, Any]:
    """One block of an exchange as its template takes it; without a text only the moment is shown."""
    long = text is not None and (len(text) > MAX_UNFOLDED_LENGTH or text.count("\n") >= MAX_UNFOLDED_LINES)
    beginning = "\n".join(text[:PREVIEW_LENGTH].rsplit(None, 1)[0].splitlines()[:MAX_UNFOLDED_LINES]) if long else None
    return {"role": role, "text": text, "beginning": beginning, "at": at, **more}


def get_session_url(pk: UUID) -> str:
    return reverse("admin:sessions_app_sessionmemory_change", args=[pk])


def get_changelist_url(model: str, **parameters: object) -> str:
    """The address of a list, narrowed."""
    return f"{reverse(f'admin:sessions_app_{model}_changelist')}?{urlencode(parameters)}"


def select_live_session_pk(session_id: str) -> Subquery:
    """The key of the session that a row names in this column, while it is there."""
    sessions = SessionMemory.objects.alive().filter(namespace=OuterRef("namespace"), session_id=OuterRef(session_id))
    return Subquery(sessions.values("pk"))
