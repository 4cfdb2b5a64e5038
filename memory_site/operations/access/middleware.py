"""The middleware of the console's pages: the second factor, the time a session was last seen, and lockouts."""

from collections.abc import Callable
from datetime import timedelta

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django_otp.middleware import OTPMiddleware

from memory_site.operations.access.models import ConsoleSession
from memory_site.operations.access.second_factor import PENDING, REQUIRED, has_second_factor, is_verified
from memory_site.operations.access.session_store import hash_key

CONSOLE_PREFIX = "/admin/"
#: A session's row is written once in so much time.
SEEN_INTERVAL = timedelta(minutes=1)
#: What an account reaches whose second factor is missing, besides the page that asks for it.
OPEN_VIEWS = ("admin:logout", "admin:login", "admin:jsi18n")
NEXT = "next"


class ConsoleMiddleware(OTPMiddleware):
    """Ask accounts that have, or must have, a second factor for it. Other requests pass unread."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        super().__init__(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path_info.startswith(CONSOLE_PREFIX):
            return self.get_response(request)
        self._install_lazy_accessors(request)
        response = self.find_gate(request) or self.get_response(request)
        note_seen(request)
        return response

    def find_gate(self, request: HttpRequest) -> HttpResponse | None:
        """Return the way to the page that asks for the second factor, or None for a request that may pass."""
        user, is_required = request.user, settings.CONSOLE_TOTP == REQUIRED
        if not user.is_authenticated or is_verified(user) or not (is_required or PENDING in request.session):
            return None
        if has_second_factor(user):
            return send_to(request, "second_factor")
        return send_to(request, "set_up_second_factor") if is_required else None


def refuse_login(request: HttpRequest, response: HttpResponse, credentials: object) -> HttpResponse:
    """Return the login page, which says that there were too many attempts, as 429; axes would show a bare text."""
    response.status_code = 429
    response["Retry-After"] = str(round(settings.AXES_COOLOFF_TIME.total_seconds()))
    return response


def send_to(request: HttpRequest, page: str) -> HttpResponse | None:
    address = reverse(page)
    if request.path_info in {address, *(reverse(name) for name in OPEN_VIEWS)}:
        return None
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": address})
    if request.method not in ("GET", "HEAD"):
        return HttpResponseRedirect(address)
    return redirect_to_login(request.get_full_path(), address, NEXT)


def note_seen(request: HttpRequest) -> None:
    """Write that the session was used, at most once a minute."""
    session = request.session
    seen_at = getattr(session, "seen_at", None) if session.accessed and session.session_key else None
    if seen_at is not None and timezone.now() - seen_at > SEEN_INTERVAL:
        ConsoleSession.objects.filter(session_key=hash_key(session.session_key)).update(seen_at=timezone.now())
