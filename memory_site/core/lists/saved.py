"""Read and save a person's filters and columns of a list."""

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST

from memory_site.core.lists.models import MAX_COLUMNS, MAX_NAME_LENGTH, MAX_QUERY_LENGTH, SavedFilter

#: Parameters of one view of a list, which are no part of a filter.
PASSING_PARAMETERS = ("p", "e", "after", "_popup", "_to_field")
BAD_NAME = f"A filter needs a name of at most {MAX_NAME_LENGTH} characters."
BAD_QUERY = "These filters are too long to be saved."


@dataclass(frozen=True)
class Saved:
    """An account's view of a list: its own and the shared filters, and its columns, empty for the usual ones."""

    filters: tuple[SavedFilter, ...]
    columns: tuple[str, ...]


def get_list_name(model_admin: Any) -> str:
    return model_admin.opts.label_lower


def read_saved(model_admin: Any, request: HttpRequest) -> Saved:
    """Return what is saved; one statement for each request."""
    kept = request.__dict__.setdefault("_saved_lists", {})
    name = get_list_name(model_admin)
    if name not in kept:
        known = SavedFilter.objects.filter(list_name=name).filter(Q(owner=request.user.pk) | Q(is_shared=True))
        rows = list(known.order_by("name", "id"))
        filters = tuple(row for row in rows if row.name)
        columns = next((row.columns for row in rows if not row.name and row.owner_id == request.user.pk), ())
        kept[name] = Saved(filters, tuple(columns))
    return kept[name]


def normalize_query(query: str) -> str:
    """Return a query string without what belongs to one view and without empty fields, in a fixed order."""
    pairs = parse_qsl(query.removeprefix("?"), keep_blank_values=False)
    return urlencode(sorted((name, value) for name, value in pairs if name not in PASSING_PARAMETERS))


def build_saved_urls(model_admin: Any) -> list[URLPattern]:
    """Return the addresses of a list at which its filters and columns are saved."""
    prefix = f"{model_admin.opts.app_label}_{model_admin.opts.model_name}"

    def view(function: Any) -> Any:
        def permitted(request: HttpRequest, **names: Any) -> HttpResponse:
            if not model_admin.has_view_permission(request):
                raise PermissionDenied
            return function(model_admin, request, **names)

        return model_admin.admin_site.admin_view(require_POST(permitted))

    return [
        path("columns/", view(save_columns), name=f"{prefix}_columns"),
        path("filters/save/", view(save_filter), name=f"{prefix}_save_filter"),
        path("filters/<int:filter_id>/delete/", view(delete_filter), name=f"{prefix}_delete_filter"),
    ]


def save_columns(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Save the columns of the form; none restores the usual ones."""
    from memory_site.core.lists.columns import list_known_columns  # noqa: PLC0415  (which reads what is saved)

    given = request.POST.getlist("column")
    chosen = [name for name in list_known_columns(model_admin) if name in given][:MAX_COLUMNS]
    owner_row: dict[str, Any] = {"list_name": get_list_name(model_admin), "owner_id": request.user.pk, "name": ""}
    if "reset" in request.POST or not chosen:
        SavedFilter.objects.filter(**owner_row).delete()
    else:
        SavedFilter.objects.update_or_create(**owner_row, defaults={"columns": chosen})
    return redirect_to_list(model_admin, request.POST.get("query", ""))


def save_filter(model_admin: Any, request: HttpRequest) -> HttpResponse:
    """Save the filters of the form under its name; the same name replaces them."""
    name = " ".join(request.POST.get("name", "").replace("\0", "").split())
    query = normalize_query(request.POST.get("query", "").replace("\0", ""))
    if not name or len(name) > MAX_NAME_LENGTH:
        messages.error(request, BAD_NAME)
    elif len(query) > MAX_QUERY_LENGTH:
        messages.error(request, BAD_QUERY)
    else:
        SavedFilter.objects.update_or_create(
            list_name=get_list_name(model_admin),
            owner_id=request.user.pk,
            name=name,
            defaults={"query": query, "is_shared": "shared" in request.POST},
        )
        messages.success(request, f"The filters are saved as “{name}”.")
    return redirect_to_list(model_admin, query)


def delete_filter(model_admin: Any, request: HttpRequest, filter_id: int) -> HttpResponse:
    """Delete a filter of this person, or as a superuser anybody's."""
    rows = SavedFilter.objects.filter(list_name=get_list_name(model_admin), pk=filter_id).exclude(name="")
    rows = rows if request.user.is_superuser else rows.filter(owner=request.user.pk)
    if not rows.delete()[0]:
        messages.error(request, "There is no such filter of yours.")
    return redirect_to_list(model_admin, request.POST.get("query", ""))


def redirect_to_list(model_admin: Any, query: str) -> HttpResponse:
    url = reverse(f"admin:{model_admin.opts.app_label}_{model_admin.opts.model_name}_changelist")
    query = normalize_query(query)
    return HttpResponseRedirect(f"{url}?{query}" if query else url)


def describe_filters(model_admin: Any, request: HttpRequest) -> list[dict[str, Any]]:
    """Return the saved filters as links, and which of them is in use."""
    current = normalize_query(request.META.get("QUERY_STRING", ""))
    return [
        {
            "id": each.pk,
            "name": each.name,
            "url": f"?{each.query}",
            "is_active": bool(current) and each.query == current,
            "is_own": each.owner_id == request.user.pk or request.user.is_superuser,
            "is_shared": each.is_shared,
        }
        for each in read_saved(model_admin, request).filters
    ]
