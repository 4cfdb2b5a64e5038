"""Links from a user to the export and the erasure of everything about that user."""

from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString


def build_data_links(request: HttpRequest, namespace_id: int, user_id: str) -> dict[str, str]:
    """Return the addresses of the export and, for an account that may delete memories, of the erasure."""
    query = urlencode({"namespace": namespace_id, "user": user_id})
    may_erase = request.user.has_perm("memories.delete_memory")
    return {
        "export_url": f"{reverse('admin:operations_desk_export')}?{query}",
        "erase_url": f"{reverse('admin:operations_desk_erase')}?{query}" if may_erase else "",
    }


def format_data_links(request: HttpRequest, namespace_id: int, user_id: str) -> SafeString:
    links = build_data_links(request, namespace_id, user_id)
    export = format_html('<a href="{}" class="underline">Export</a>', links["export_url"])
    if not links["erase_url"]:
        return export
    return format_html('{} <a href="{}" class="user-erase">Erase…</a>', export, links["erase_url"])
