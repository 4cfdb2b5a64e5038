"""What every request of the Model Context Protocol must be, before the SDK sees it."""

from urllib.parse import urlsplit

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from memory_site.api_keys import WELL_KNOWN
from memory_site.core.http.parsing import check_body
from memory_site.core.http.problems import Problem, problem_response
from memory_site.mcp_server.subject import read_subject
from sessions_app.auth import ApiRequest

OPERATION_ID = "mcp"


@csrf_exempt
def serve(request: ApiRequest, profile: str, user: str | None = None) -> HttpResponse:
    """Answer one message. ApiKeyMiddleware has authenticated the caller already."""
    if WELL_KNOWN in request.path:
        raise Http404
    request.operation_id = OPERATION_ID  # type: ignore[attr-defined]
    try:
        check_request(request)
        subject = read_subject(request, user)
    except Problem as problem:
        return problem_response(request, problem)
    # The SDK is loaded with the first message: sites without agents never pay for it.
    from memory_site.mcp_server.exchange import answer  # noqa: PLC0415

    return answer(request, profile, subject)


def check_request(request: HttpRequest) -> None:
    """Raise Problem for another site's page, another method than POST, and a body that is not a short JSON text."""
    if not is_allowed_origin(request):
        raise Problem(403, "Pages of this origin may not call the site: see MCP_ALLOWED_ORIGINS.")
    if request.method != "POST":
        raise Problem(405, f"{request.method} is not possible here: this server opens no stream and keeps no session.",
                      headers={"Allow": "POST"})  # fmt: skip
    if problem := check_body(request):
        raise problem


def is_allowed_origin(request: HttpRequest) -> bool:
    """Tell whether a request comes from no page, a page of this host, or one of an allowed origin.

    A page elsewhere that makes its name point here (DNS rebinding) sends its own Host, which ALLOWED_HOSTS refuses, and
    its own Origin.
    """
    origin = request.headers.get("Origin")
    return origin is None or read_host(origin) == request.get_host() or origin in settings.MCP_ALLOWED_ORIGINS


def read_host(origin: str) -> str | None:
    """Return the host and port of an origin, None for a text that is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
