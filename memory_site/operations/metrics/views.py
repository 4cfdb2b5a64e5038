"""GET /metrics."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from memory_site.core.http.problems import problem_response
from memory_site.operations.metrics.access import check_access
from memory_site.operations.metrics.exposition import CONTENT_TYPE, SOURCES, write_metrics


@csrf_exempt  # a CSRF check would read the body, at the pace of the client
@require_safe
def get_metrics(request: HttpRequest) -> HttpResponse:
    """Show what all processes of this machine have counted, and what the store knows; needs an API key."""
    if problem := check_access(request.headers.get("Authorization", "")):
        return problem_response(request, problem)
    return HttpResponse(write_metrics(SOURCES), content_type=CONTENT_TYPE)
