"""/health: liveness, readiness, and the status of every component."""

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_safe

from memory_site.core.http.overload import admission
from memory_site.core.http.problems import Problem, problem_response
from memory_site.operations.health.checks import READINESS_CHECKS
from memory_site.operations.health.results import Component, HealthStatus, worst_status
from memory_site.operations.health.runner import check_components
from sessions_app.auth import find_caller
from sessions_app.models import KEY_PREFIX

UNAUTHENTICATED = Problem(
    401, f"Details need an API key: Authorization: Bearer {KEY_PREFIX}…", headers={"WWW-Authenticate": "Bearer"}
)


@csrf_exempt  # a CSRF check would read the body, at the pace of the client
@require_safe
def get_liveness(request: HttpRequest) -> HttpResponse:
    """Say that the process answers, without further checks."""
    return JsonResponse({"status": "alive"})


@csrf_exempt  # a CSRF check would read the body, at the pace of the client
@require_safe
def get_readiness(request: HttpRequest) -> HttpResponse:
    """Say whether requests can be served: the database answers and has the tables of this release."""
    return health_response(check_components(READINESS_CHECKS), details=False)


@csrf_exempt  # a CSRF check would read the body, at the pace of the client
@require_safe
def get_health(request: HttpRequest) -> HttpResponse:
    """List every component with its status; needs an API key."""
    components = [*check_components(), describe_load()]
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if components[0].status < HealthStatus.UNHEALTHY and not (scheme.lower() == "bearer" and find_caller(token)):
        return problem_response(request, UNAUTHENTICATED)
    return health_response(components, details=components[0].status < HealthStatus.UNHEALTHY)


def describe_load() -> Component:
    """Describe the load of this web process. A refused request is an answer, so it is not a fault of the site."""
    load = admission.load
    message = f"{load.served} served now, {load.waiting} wait; {load.refused:,} refused since this process started."
    return Component("requests", HealthStatus.HEALTHY, message)


def health_response(components: list[Component], *, details: bool) -> HttpResponse:
    worst = worst_status(components)
    body: dict[str, Any] = {"status": worst.name.lower()}
    if details:
        body["components"] = [component.as_dict() for component in components]
    return JsonResponse(body, status=503 if worst is HealthStatus.UNHEALTHY else 200)
