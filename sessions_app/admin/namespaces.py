"""The namespace filter of lists, and the namespace form of report pages."""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.contrib.filters.forms import AutocompleteDropdownForm

from sessions_app.models import Namespace, SessionMemory

UNKNOWN_NAMESPACE = "There is no such namespace: these are the figures of all."


def parse_namespace(request: HttpRequest) -> Namespace | None:
    """Return the namespace named in the URL, if any. Raise ValidationError for an unknown one."""
    return forms.ModelChoiceField(Namespace.objects.all(), required=False).clean(request.GET.get("namespace", ""))


def get_selected_namespace(request: HttpRequest) -> Namespace | None:
    """Return the namespace named in the URL. Warn the user about an unknown one and return None."""
    try:
        return parse_namespace(request)
    except forms.ValidationError:
        messages.warning(request, UNKNOWN_NAMESPACE)
        return None


def build_namespace_form(request: HttpRequest, model_admin: ModelAdmin, selected: Namespace | None) -> forms.Form:
    """Return a form whose menu loads names while the user types: there may be more namespaces than a menu can hold."""
    return AutocompleteDropdownForm(
        request=request,
        name="namespace",
        label="Namespace",
        choices=(),
        field=SessionMemory._meta.get_field("namespace"),
        model_admin=model_admin,
        data={"namespace": selected and selected.pk},
    )


class NamespaceFilter(admin.SimpleListFilter):
    title, parameter_name = "namespace", "namespace"
    template = "unfold/filters/filters_field.html"
    form_class = AutocompleteDropdownForm  # the list takes its scripts from here

    def __init__(self, request: HttpRequest, params: dict, model: type, model_admin: ModelAdmin) -> None:
        super().__init__(request, params, model, model_admin)
        try:
            self.selected, self.is_known = parse_namespace(request), True
        except forms.ValidationError:
            self.selected, self.is_known = None, False
        self.form = build_namespace_form(request, model_admin, self.selected)

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> tuple:
        return ()

    def has_output(self) -> bool:
        return True

    def choices(self, changelist: ChangeList) -> Iterator[dict[str, Any]]:
        yield {"form": self.form}

    def describe_value(self, name: str, value: str) -> str:
        """Return the namespace's name."""
        return self.selected.name if self.selected else value

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        if not self.is_known:
            return queryset.none()
        return queryset.filter(namespace=self.selected) if self.selected else queryset
