"""Where the tables are distributed, some pages of the console can only be drawn for one namespace."""

from collections.abc import Callable

from django.contrib import messages
from django.db import NotSupportedError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import urlencode

from memory_site.core.admin.replica_reads import CONSOLE_PREFIX
from memory_site.core.db.cluster import find_first_namespace

NOTICE = "The namespaces are on several servers: this page shows one of them."


class OneNamespaceMiddleware:
    """Shows the first namespace when a page over all of them needs a statement that Citus does not support."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        is_page = request.method == "GET" and request.path.startswith(CONSOLE_PREFIX)
        if not isinstance(error, NotSupportedError) or not is_page or "namespace" in request.GET:
            return None
        namespace_id = find_first_namespace()
        if namespace_id is None:
            return None
        messages.info(request, NOTICE)
        return HttpResponseRedirect(f"{request.path}?{urlencode({**request.GET.dict(), 'namespace': namespace_id})}")
