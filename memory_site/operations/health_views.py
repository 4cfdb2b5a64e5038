"""/health: alive, ready, and how everything is."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from memory_site.core.http.problems import Problem, problem_response
from memory_site.operations import health as checks
from sessions_app.auth import caller_of

UNKNOWN = Problem(401, "Details need an API key: Authorization: Bearer mem_…", headers={"WWW-Authenticate": "Bearer"})


@csrf_exempt  # or the body would be read, at the pace of whoever sends it
@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """The process answers; nothing else is asked."""
    return JsonResponse({"status": "alive"})


@csrf_exempt  # or the body would be read, at the pace of whoever sends it
@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Requests can be served: the database answers and has the tables this release needs."""
    return told(checks.look(checks.NEEDED_TO_SERVE), details=False)


@csrf_exempt  # or the body would be read, at the pace of whoever sends it
@require_safe
def health(request: HttpRequest) -> HttpResponse:
    """Every part with its status; needs an API key."""
    components = checks.look()
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if components[0].status < checks.Status.UNHEALTHY and not (scheme.lower() == "bearer" and caller_of(token)):
        return problem_response(request, UNKNOWN)
    return told(components, details=components[0].status < checks.Status.UNHEALTHY)


def told(components: list[checks.Component], *, details: bool) -> HttpResponse:
    worst = checks.worst(components)
    body = {"status": worst.name.lower()}
    if details:
        body["components"] = [component.as_dict() for component in components]
    return JsonResponse(body, status=503 if worst is checks.Status.UNHEALTHY else 200)
