"""Pages of one's own account: the second factor and where one is logged in."""

from base64 import b32encode
from typing import Any

import django_otp
import segno
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST
from django_otp.plugins.otp_static.models import StaticDevice
from django_otp.plugins.otp_totp.models import TOTPDevice
from unfold.widgets import UnfoldAdminTextInputWidget

from memory_site.core.admin.formatting import format_datetime, format_duration
from memory_site.operations.access.agents import describe_agent
from memory_site.operations.access.events import record
from memory_site.operations.access.middleware import NEXT
from memory_site.operations.access.models import ConsoleSession, EventKind
from memory_site.operations.access.second_factor import (
    PENDING,
    RECOVERY_CODES,
    REQUIRED,
    begin_set_up,
    confirm_set_up,
    count_recovery_codes,
    find_device,
    get_wait_seconds,
    has_second_factor,
    is_verified,
    make_recovery_codes,
    reset_second_factor,
)
from memory_site.operations.access.session_store import hash_key
from memory_site.operations.access.sessions import end_sessions, list_sessions

WRONG_CODE = "This code is wrong, or was used already."
SECURED = "From now on the console asks for a code after your password."
CODE_ATTRIBUTES = {"autocomplete": "one-time-code", "autofocus": "", "inputmode": "text", "spellcheck": "false"}


class CodeForm(forms.Form):
    """A code of the phone, or a recovery code."""

    code = forms.CharField(label="Code", max_length=40, widget=UnfoldAdminTextInputWidget(CODE_ATTRIBUTES))


def build_context(request: HttpRequest, title: str, **values: Any) -> dict[str, Any]:
    return {**admin.site.each_context(request), "title": title, **values}


def explain_wrong_code(user: Any) -> str:
    wait = get_wait_seconds(user)
    return f"{WRONG_CODE} The next one is read in {format_duration(wait)}." if wait > 1 else WRONG_CODE


# The code after the password


@never_cache
@sensitive_post_parameters("code")
def ask_for_code(request: HttpRequest) -> HttpResponse:
    """Ask for a code after the right password."""
    if not request.user.is_authenticated:
        return redirect_to_login(get_next(request), reverse("admin:login"))
    if is_verified(request.user) or not has_second_factor(request.user):
        return HttpResponseRedirect(get_next(request))
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if device := find_device(request.user, form.cleaned_data["code"]):
            return let_in(request, device)
        record(EventKind.WRONG_CODE, request=request)
        form.add_error(None, explain_wrong_code(request.user))
    context = build_context(request, "Enter your code", form=form, next=get_next(request))
    return TemplateResponse(request, "admin/access/second_factor.html", context)


def let_in(request: HttpRequest, device: Any) -> HttpResponse:
    request.session.pop(PENDING, None)
    request.session.cycle_key()
    django_otp.login(request, device)
    if isinstance(device, StaticDevice):
        record(EventKind.RECOVERY_CODE_USED, request=request)
        left = count_recovery_codes(request.user)
        messages.warning(request, f"That recovery code is used up; {left} are left. Your account page makes new ones.")
    record(EventKind.LOGIN, request=request)
    return HttpResponseRedirect(get_next(request))


def get_next(request: HttpRequest) -> str:
    """Return where the request was going, if that is on this site."""
    address = request.POST.get(NEXT) or request.GET.get(NEXT) or ""
    is_ours = url_has_allowed_host_and_scheme(address, {request.get_host()}, require_https=request.is_secure())
    return address if is_ours and "\0" not in address else reverse("admin:index")


# Setting the second factor up


@never_cache
@sensitive_post_parameters("code")
def set_up_second_factor(request: HttpRequest) -> HttpResponse:
    """Show the secret as a picture for the phone; the first right code makes it the second factor."""
    device = begin_set_up(request.user)
    form = CodeForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        if codes := confirm_set_up(device, form.cleaned_data["code"]):
            return finish_set_up(request, device, codes)
        form.add_error(None, WRONG_CODE)
    context = build_context(request, "Set up the second factor", form=form, picture=draw_code(device))
    context |= {"secret": format_secret(device), "is_required": not has_second_factor(request.user)}
    return TemplateResponse(request, "admin/access/set_up.html", context)


def finish_set_up(request: HttpRequest, device: TOTPDevice, codes: list[str]) -> HttpResponse:
    """Have this session count as verified, and end the others: they came in with the password alone."""
    request.session.pop(PENDING, None)
    request.session.cycle_key()
    django_otp.login(request, device)
    end_sessions(request.user, except_key=hash_key(request.session.session_key))
    record(EventKind.SECOND_FACTOR_SET_UP, request=request, subject=request.user.get_username())
    messages.success(request, SECURED)
    return show_codes(request, codes)


def show_codes(request: HttpRequest, codes: list[str]) -> HttpResponse:
    """Show recovery codes in this response only."""
    return TemplateResponse(request, "admin/access/codes.html", build_context(request, "Recovery codes", codes=codes))


def draw_code(device: TOTPDevice) -> str:
    """Return the QR code as SVG, black on white in both themes: what cameras read best."""
    image = segno.make(device.config_url, error="m", micro=False)
    return mark_safe(image.svg_inline(scale=5, border=4, light="#fff"))  # noqa: S308  (it holds no text)


def format_secret(device: TOTPDevice) -> str:
    """Return the secret as phones take it by hand, in groups of four."""
    text = b32encode(device.bin_key).decode().rstrip("=")
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


# One's own account


@never_cache
def show_account(request: HttpRequest) -> HttpResponse:
    own = hash_key(request.session.session_key)
    context = build_context(
        request,
        "Your account",
        sessions=[describe_session(session, own) for session in list_sessions().filter(user=request.user)],
        has_second_factor=has_second_factor(request.user),
        is_required=is_required(),
        codes_left=count_recovery_codes(request.user),
        code_count=RECOVERY_CODES,
        form=CodeForm(),
    )
    return TemplateResponse(request, "admin/access/account.html", context)


def describe_session(session: ConsoleSession, own: str) -> dict[str, Any]:
    return {
        "key": session.session_key,
        "is_own": session.session_key == own,
        "agent": describe_agent(session.agent),
        "address": session.address or "-",
        "created": format_datetime(session.created_at),
        "seen": format_datetime(session.seen_at),
    }


def is_required() -> bool:
    return settings.CONSOLE_TOTP == REQUIRED


@require_POST
def end_own_sessions(request: HttpRequest) -> HttpResponse:
    """End one of one's other sessions, by its digest, or all of them."""
    own, key = hash_key(request.session.session_key), request.POST.get("session", "")
    others = list_sessions().filter(user=request.user).exclude(session_key=own)
    if key:
        others = others.none() if "\0" in key else others.filter(session_key=key)
    count, _ = others.delete()
    if count:
        record(EventKind.SESSION_ENDED, request=request, subject=request.user.get_username())
    messages.success(request, f"Ended: {count} {'session' if count == 1 else 'sessions'}.")
    return redirect("account")


@require_POST
@sensitive_post_parameters("code")
def change_second_factor(request: HttpRequest) -> HttpResponse:
    """Make new recovery codes, or remove the second factor, after a valid code."""
    form = CodeForm(request.POST)
    if not form.is_valid() or find_device(request.user, form.cleaned_data["code"]) is None:
        messages.error(request, explain_wrong_code(request.user))
        return redirect("account")
    if "remove" in request.POST and not is_required():
        reset_second_factor(request.user)
        record(EventKind.SECOND_FACTOR_RESET, request=request, subject=request.user.get_username())
        messages.success(request, "The console asks for your password only.")
        return redirect("account")
    return show_codes(request, make_recovery_codes(request.user))
