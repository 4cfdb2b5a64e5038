"""The door of the console: failed logins, the second factor, sessions."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_totp.models import TOTPDevice

from memory_site.operations.access.lockouts import unlock
from memory_site.operations.access.middleware import SEEN_INTERVAL
from memory_site.operations.access.models import AccessEvent, ConsoleSession, EventKind
from memory_site.operations.access.second_factor import make_recovery_codes
from memory_site.operations.access.session_store import SessionStore, hash_key
from memory_site.operations.access.tasks import delete_ended
from tests.console import create_staff_user, fetch_page_text

pytestmark = pytest.mark.django_db
LOGIN, HOME = "/admin/login/", "/admin/password_change/"  # a page that reads little
PASSWORD = "correct horse"


@pytest.fixture(autouse=True)
def quick_passwords(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def ada() -> User:
    return User.objects.create_superuser("ada", password=PASSWORD)


def log_in(client: Client, username: str = "ada", password: str = PASSWORD, **meta: str):
    return client.post(LOGIN, {"username": username, "password": password, "next": HOME}, **meta)


def is_inside(client: Client) -> bool:
    return client.get(HOME).status_code == 200


def list_events() -> list[tuple[str, str, str]]:
    return list(AccessEvent.objects.order_by("id").values_list("kind", "actor", "subject"))


# Throttling


def test_a_wrong_password_shows_one_box_and_the_same_for_every_account(client, ada):
    User.objects.create_user("clerk", password=PASSWORD)  # no member of the staff
    User.objects.create_user("gone", password=PASSWORD, is_staff=True, is_active=False)
    pages = [
        log_in(client, name, word).content.decode()
        for name, word in (("ada", "wrong"), ("nobody", "wrong"), ("clerk", PASSWORD), ("gone", PASSWORD))
    ]
    for page in pages:
        assert page.count("errornote") == 1 and "The name or the password is wrong" in page


def test_who_guesses_is_locked_out_from_his_address_only(client, ada):
    attacker, administrator = {"REMOTE_ADDR": "192.0.2.66"}, {"REMOTE_ADDR": "192.0.2.1"}
    statuses = [log_in(client, password="guess", **attacker).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 200, 429]
    answer = log_in(client, **attacker)  # the right one now, too late
    assert (answer.status_code, answer["Retry-After"]) == (429, "900")
    assert "Too many failed attempts" in answer.content.decode()
    assert [log_in(client, "nobody", **attacker).status_code for _ in range(5)][-1] == 429
    assert log_in(Client(), **administrator).status_code == 302


def test_addresses_of_one_ipv6_network_count_together(client, ada):
    for number in range(5):
        status = log_in(client, password="guess", REMOTE_ADDR=f"2001:db8::{number}").status_code
    assert status == 429


def test_an_invented_header_is_no_other_address(client, ada):
    for number in range(5):
        status = log_in(client, password="guess", HTTP_X_FORWARDED_FOR=f"192.0.2.{number}").status_code
    assert status == 429


def test_behind_a_proxy_the_address_is_the_one_that_it_saw(client, ada, settings):
    settings.TRUSTED_PROXIES = 1
    for number in range(5):
        header = f"203.0.113.{number}, 192.0.2.66"
        status = log_in(client, password="guess", HTTP_X_FORWARDED_FOR=header).status_code
    assert status == 429
    assert log_in(Client(), HTTP_X_FORWARDED_FOR="192.0.2.1").status_code == 302


def test_a_lockout_ends_by_itself_and_when_it_is_lifted(client, ada, monkeypatch):
    for _ in range(5):
        log_in(client, password="guess")
    later = timezone.now() + timedelta(minutes=16)
    with monkeypatch.context() as patch:
        patch.setattr("axes.handlers.proxy.now", lambda: later)
        assert log_in(Client()).status_code == 302
    for _ in range(5):
        log_in(client, password="guess")
    assert log_in(client).status_code == 429
    assert unlock("ada") == 1
    assert log_in(client).status_code == 302


def test_the_audit_knows_failed_logins_and_one_lockout_but_no_typed_secret(client, ada):
    log_in(client, "hunter2", "ada")
    for _ in range(8):
        log_in(client, password="guess")
    failed = (EventKind.FAILED_LOGIN, "console", "ada")
    assert list_events() == [
        (EventKind.FAILED_LOGIN, "console", "an unknown name"),
        *[failed] * 5,
        (EventKind.LOCKED_OUT, "console", "ada"),
    ]


STRANGE_INPUT = {
    "NUL in the name": {"username": "\0", "password": "x"},
    "NUL in the password": {"username": "x", "password": "\0"},
    "NUL in next": {"username": "ada", "password": "x", "next": "\0"},
    "a long name": {"username": "a" * 5000, "password": "x"},
    "a lone surrogate": {"username": "\ud800".encode("utf-8", "surrogatepass"), "password": "x"},
    "nothing": {},
}


@pytest.mark.parametrize("fields", STRANGE_INPUT.values(), ids=STRANGE_INPUT)
def test_strange_input_is_no_error(client, ada, fields):
    client.raise_request_exception = False
    assert client.post(LOGIN, fields, HTTP_USER_AGENT="x" * 5000).status_code == 200


# Second factor


def set_up(user: User) -> TOTPDevice:
    return TOTPDevice.objects.create(user=user, confirmed=True)


def get_code(device: TOTPDevice, steps: int = 0) -> str:
    return f"{totp(device.bin_key, drift=steps):06}"


def send_code(client: Client, code: str, **fields: str):
    return client.post(reverse("second_factor"), {"code": code, "next": HOME} | fields)


def test_a_password_alone_opens_no_page_of_an_account_with_a_second_factor(client, ada):
    set_up(ada)
    assert log_in(client).status_code == 302
    for path in (HOME, "/admin/", "/admin/account/", "/admin/account/second-factor/", "/admin/memories/memory/"):
        assert client.get(path).url.startswith(reverse("second_factor")), path
    assert client.post("/admin/password_change/", {}).url == reverse("second_factor")
    assert client.get("/admin/", headers={"HX-Request": "true"})["HX-Redirect"] == reverse("second_factor")
    assert not AccessEvent.objects.filter(kind=EventKind.LOGIN).exists()


def test_the_code_of_the_phone_opens_the_console_once(client, ada):
    device = set_up(ada)
    log_in(client)
    before = client.session.session_key
    assert "This code is wrong" in send_code(client, "000000").content.decode()
    TOTPDevice.objects.update(throttling_failure_timestamp=timezone.now() - timedelta(minutes=1))
    code = get_code(device)
    assert send_code(client, f" {code[:3]} {code[3:]}").url == HOME
    assert is_inside(client)
    assert client.session.session_key != before
    assert list_events() == [(EventKind.WRONG_CODE, "console:ada", ""), (EventKind.LOGIN, "console:ada", "")]
    second = Client()
    log_in(second)
    assert "This code is wrong" in send_code(second, code).content.decode()
    assert not is_inside(second)


def test_codes_are_not_guessed(client, ada):
    device = set_up(ada)
    log_in(client)
    for ago in (*[timedelta(seconds=7)] * 3, -timedelta(hours=1)):  # the last time runs, however late the code comes
        send_code(client, "000000")
        TOTPDevice.objects.update(throttling_failure_timestamp=timezone.now() - ago)
    assert "The next one is read in 8 s" in send_code(client, get_code(device)).content.decode()
    assert not is_inside(client)


def test_a_code_of_another_account_is_none(client, ada):
    set_up(ada)
    other = set_up(User.objects.create_superuser("eve", password=PASSWORD))
    log_in(client)
    send_code(client, get_code(other))
    assert not is_inside(client)


def test_a_recovery_code_works_once_and_is_not_stored(client, ada):
    set_up(ada)
    codes = make_recovery_codes(ada)
    stored = " ".join(ada.staticdevice_set.values_list("token_set__token", flat=True))
    assert codes[0].replace("-", "") not in stored
    log_in(client)
    send_code(client, codes[0].upper())
    assert is_inside(client)
    second = Client()
    log_in(second)
    send_code(second, codes[0])
    assert not is_inside(second)


def test_nobody_is_sent_to_another_site(client, ada):
    device = set_up(ada)
    log_in(client)
    assert send_code(client, get_code(device), next="https://evil.example/").url == "/admin/"


def test_a_phone_is_set_up_with_a_picture_and_the_first_code(client, ada):
    client.force_login(ada)
    other = Client()
    other.force_login(ada)
    page = reverse("set_up_second_factor")
    text = fetch_page_text(client, page)
    assert "<svg" in text and 'xlink:href="http' not in text
    device = TOTPDevice.objects.get()
    assert "This code is wrong" in client.post(page, {"code": "000000"}).content.decode()
    assert not is_inside(Client())
    TOTPDevice.objects.update(throttling_failure_timestamp=timezone.now() - timedelta(minutes=1))
    shown = client.post(page, {"code": get_code(device)}).content.decode()
    assert shown.count("<code>") == 10
    assert is_inside(client) and not is_inside(other)
    codes = TOTPDevice.objects.get()
    assert codes.confirmed and "second factor set up" in [kind for kind, _, _ in list_events()]


def test_a_second_factor_is_removed_with_a_code_only(client, ada):
    device = set_up(ada)
    log_in(client)
    send_code(client, get_code(device))
    page = reverse("change_second_factor")
    client.post(page, {"code": "000000", "remove": "1"})
    assert TOTPDevice.objects.exists()
    TOTPDevice.objects.update(throttling_failure_timestamp=None, last_t=-1)
    client.post(page, {"code": get_code(device), "remove": "1"})
    assert not TOTPDevice.objects.exists()
    assert is_inside(client)


def test_a_required_second_factor_is_set_up_before_anything_else(client, ada, settings):
    settings.CONSOLE_TOTP = "required"
    log_in(client)
    assert client.get(HOME).url.startswith(reverse("set_up_second_factor"))
    assert client.get(reverse("set_up_second_factor")).status_code == 200
    client.post(reverse("set_up_second_factor"), {"code": get_code(TOTPDevice.objects.get())})
    assert is_inside(client)


def test_requiring_it_reaches_sessions_that_are_there(client, ada, settings):
    client.force_login(ada)
    set_up(ada)
    settings.CONSOLE_TOTP = "required"
    assert client.get(HOME).url.startswith(reverse("second_factor"))


@pytest.mark.parametrize("code", ["\0", "é", "9" * 41, "", "٣٣٣٣٣٣"], ids=ascii)
def test_a_strange_code_is_no_error(client, ada, code):
    set_up(ada)
    log_in(client)
    assert send_code(client, code).status_code == 200


# Sessions


def test_a_session_knows_its_account_address_and_browser(client, ada):
    agent = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0"
    log_in(client, HTTP_USER_AGENT=agent, REMOTE_ADDR="192.0.2.1")
    session = ConsoleSession.objects.get()
    assert (session.user, session.address, session.agent) == (ada, "192.0.2.1", agent)
    text = fetch_page_text(client, "/admin/access/consolesession/")
    assert "Firefox 133 on Linux" in text and "192.0.2.1" in text


def test_no_table_holds_the_key_of_a_session(client, ada):
    client.force_login(ada)
    assert ConsoleSession.objects.get().session_key == hash_key(client.session.session_key)
    assert client.session.session_key not in fetch_page_text(client, "/admin/access/consolesession/")


def test_the_time_of_the_last_request_is_noted_once_a_minute(client, ada, django_assert_max_num_queries):
    client.force_login(ada)
    created = ConsoleSession.objects.get().created_at
    ConsoleSession.objects.update(seen_at=timezone.now() - 2 * SEEN_INTERVAL)
    client.get(HOME)
    session = ConsoleSession.objects.get()
    assert timezone.now() - session.seen_at < SEEN_INTERVAL
    assert session.created_at == created
    with django_assert_max_num_queries(2):  # session and user
        client.get(HOME)


def test_a_session_that_is_ended_is_out_at_its_next_request(client, ada):
    client.force_login(ada)
    other = Client()
    other.force_login(User.objects.create(username="eve", is_staff=True, is_superuser=True))
    row = ConsoleSession.objects.get(user__username="eve")
    page = reverse("admin:access_consolesession_end", args=[row.pk])
    assert client.post(page, {"_form_submitted": "True"}).status_code == 200
    assert not is_inside(other) and is_inside(client)
    assert list_events()[-1] == (EventKind.SESSION_ENDED, "console:ada", "eve")


def test_one_ends_ones_own_other_sessions_and_no_one_elses(client, ada):
    eve, second, third = Client(), Client(), Client()
    eve.force_login(User.objects.create(username="eve", is_staff=True))
    for each in (client, second, third):
        each.force_login(ada)
    page = reverse("end_own_sessions")
    client.post(page, {"session": hash_key(eve.session.session_key)})
    assert is_inside(eve)
    client.post(page, {"session": hash_key(second.session.session_key)})
    assert not is_inside(second) and is_inside(third)
    client.post(page)
    assert not is_inside(third) and is_inside(client)


def test_a_new_password_ends_the_sessions_but_the_one_that_set_it(client, ada):
    other = Client()
    client.force_login(ada)
    other.force_login(ada)
    new = {"old_password": PASSWORD, "new_password1": "battery staple", "new_password2": "battery staple"}
    assert client.post("/admin/password_change/", new).status_code == 302
    assert is_inside(client) and not is_inside(other)
    assert ConsoleSession.objects.filter(user=ada).count() == 1


def test_an_account_that_is_switched_off_has_no_session_when_it_is_back(client, ada):
    client.force_login(ada)
    ada.is_active = False
    ada.save()
    ada.is_active = True
    ada.save()
    assert not is_inside(client)


def test_who_may_not_end_sessions_cannot(client, django_user_model, ada):
    row = SessionStore()
    row["_auth_user_id"] = str(ada.pk)
    row.save()
    create_staff_user(client, django_user_model, "view_consolesession")
    page = reverse("admin:access_consolesession_end", args=[hash_key(row.session_key)])
    assert client.post(page, {"_form_submitted": "True"}).status_code == 403
    assert ConsoleSession.objects.filter(user=ada).exists()


def test_an_administrator_who_is_no_superuser_makes_none_and_resets_none(client, ada, django_user_model):
    create_staff_user(client, django_user_model, "view_user", "change_user", "add_user")
    set_up(ada)
    staff = django_user_model.objects.get(username="staff")
    form = {"username": "staff", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    client.post(f"/admin/auth/user/{staff.pk}/change/", form)
    staff.refresh_from_db()
    assert not staff.is_superuser
    assert (
        client.post(f"/admin/auth/user/{ada.pk}/password/", {"password1": "x" * 12, "password2": "x" * 12}).status_code
        == 403
    )
    client.post(reverse("admin:auth_user_reset_factor", args=[ada.pk]), {"_form_submitted": "True"})
    assert TOTPDevice.objects.exists()


def test_ended_sessions_are_deleted(client, ada):
    client.force_login(ada)
    ConsoleSession.objects.update(expire_date=timezone.now() - timedelta(seconds=1))
    delete_ended()
    assert not ConsoleSession.objects.exists()


# Accounts


def test_a_new_account_gets_its_role_at_once_and_can_log_in(client, ada):
    client.force_login(ada)
    viewer = Group.objects.get(name="viewer")
    fields = {"username": "eve", "usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    client.post("/admin/auth/user/add/", fields | {"groups": [viewer.pk]})
    assert list(User.objects.get(username="eve").groups.all()) == [viewer]
    client.logout()
    log_in(client, "eve")
    assert is_inside(client)
