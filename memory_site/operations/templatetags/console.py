"""What every page of the console shows: where it stands in the sidebar."""

from typing import Any, NamedTuple

from django import template
from django.template import RequestContext
from django.urls import NoReverseMatch, reverse

from memory_site.core.admin.formatting import truncate

register = template.Library()

MAX_TITLE_LENGTH = 80


class Crumb(NamedTuple):
    title: str
    link: str | None = None


@register.inclusion_tag("admin/breadcrumbs.html", takes_context=True)
def show_breadcrumbs(context: RequestContext) -> dict[str, list[Crumb]]:
    """Show the sidebar's group and entry, then the row. Names of rows are written as they are stored."""
    crumbs = find_sidebar_crumbs(context) or find_model_crumbs(context)
    row = context.get("original") or context.get("object")
    if row is not None and not isinstance(row, str):
        crumbs.append(Crumb(truncate(str(row), MAX_TITLE_LENGTH), find_row_link(row)))
    elif (title := context.get("title")) and not context.get("cl"):
        crumbs.append(Crumb(truncate(str(title), MAX_TITLE_LENGTH)))
    return {"crumbs": drop_repetitions(crumbs)}


def find_sidebar_crumbs(context: RequestContext) -> list[Crumb]:
    for group in context.get("sidebar_navigation") or ():
        for item in group["items"]:
            if item.get("active"):
                title = [Crumb(group["title"])] if group.get("title") else []
                return [*title, Crumb(str(item["title"]), str(item["link"]))]
    return []


def find_model_crumbs(context: RequestContext) -> list[Crumb]:
    """Return the list of a model that has no entry in the sidebar."""
    opts = context.get("opts")
    return [Crumb(str(opts.verbose_name_plural).capitalize())] if opts else []


def find_row_link(row: Any) -> str | None:
    try:
        return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    except NoReverseMatch:
        return None


def drop_repetitions(crumbs: list[Crumb]) -> list[Crumb]:
    """Drop a crumb that says what the one before it said."""
    titles = ["", *(crumb.title for crumb in crumbs)]
    return [crumb for crumb, before in zip(crumbs, titles, strict=False) if crumb.title.lower() != before.lower()]
