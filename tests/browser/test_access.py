"""Scheduled tasks and the login, in a browser."""

import re

import pytest
from django_otp.oath import totp
from playwright.sync_api import Browser, Page, expect

from memory_site.operations.selftest.scratch_site import wait_until
from tests.browser.browser import log_in, open_context
from tests.stack.stack import Stack

TASK = "delete outdated memories"

#: With the password of the administrator.
CREATE_ACCOUNT_SQL = """
INSERT INTO auth_user
    (username, password, is_superuser, is_staff, is_active, first_name, last_name, email, date_joined)
SELECT %s, password, true, true, true, '', '', '', now() FROM auth_user WHERE username = 'admin'
"""


@pytest.fixture
def account(site: Stack) -> str:
    """A new administrator, so that the one of the other tests keeps his session."""
    name = f"admin-{site.rows('SELECT count(*) FROM auth_user')[0][0]}"
    with site.connect() as connection:
        connection.execute(CREATE_ACCOUNT_SQL, [name])
    return name


def open_task(page: Page) -> None:
    page.goto("/admin/django_celery_beat/periodictask/")
    page.get_by_role("link", name=TASK).click()


def test_a_schedule_is_edited_kept_over_a_restart_of_beat_reset_and_run(page: Page, site: Stack):
    open_task(page)
    page.locator("input[name=at]").fill("12:34")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator("body")).to_contain_text("changed from the default (every day at 03:45 UTC)")
    killed = site.kill("beat")
    wait_until(lambda: site.is_back("beat", killed), 60, "beat is back")
    page.reload()
    expect(page.locator("body")).to_contain_text("every day at 12:34 UTC")
    open_task(page)
    page.get_by_role("link", name="Run now").or_(page.get_by_role("button", name="Run now")).first.click()
    page.get_by_role("dialog").or_(page.locator("form")).get_by_role("button", name="Run now").last.click()
    expect(page.locator("body")).to_contain_text("Queued for a worker")
    ended = f"SELECT 1 FROM operations_scheduleoutcome WHERE name = '{TASK}' AND succeeded_at > requested_at"
    wait_until(lambda: site.rows(ended), 60, "the task has run")
    row = page.locator("#result_list tr").filter(has_text=TASK)
    expect(row).to_contain_text("succeeded")


def test_who_guesses_is_locked_out_and_unlocked(browser: Browser, site: Stack, page: Page, account: str):
    guesser = open_context(browser, site).new_page()
    guesser.goto("/admin/login/")
    for _ in range(5):
        guesser.fill("input[name=username]", account)
        guesser.fill("input[name=password]", "guess")
        with guesser.expect_navigation():  # the page of before has the same form, and from the second on the same note
            guesser.press("input[name=password]", "Enter")
        expect(guesser.locator(".errornote")).to_have_count(1)
    expect(guesser.locator(".errornote")).to_contain_text("Too many failed attempts")
    with site.connect() as connection:
        connection.execute("DELETE FROM axes_accessattempt WHERE username = %s", [account])
    log_in(guesser, account, site.password)
    guesser.context.close()


def test_a_second_factor_is_set_up_and_asked_for(browser: Browser, site: Stack, account: str):
    context = open_context(browser, site)
    page = context.new_page()
    log_in(page, account, site.password)
    page.goto("/admin/account/")
    page.get_by_role("link", name="Set up a second factor").click()
    expect(page.locator(".access-picture svg")).to_be_visible()
    page.fill("input[name=code]", compute_code(site, account))
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator(".access-codes li")).to_have_count(10)
    recovery = page.locator(".access-codes li").first.inner_text()
    context.clear_cookies()
    page.goto("/admin/login/")
    page.fill("input[name=username]", account)
    page.fill("input[name=password]", site.password)
    page.press("input[name=password]", "Enter")
    expect(page).to_have_url(re.compile("/admin/second-factor/"))
    page.goto("/admin/memories/memory/")
    expect(page).to_have_url(re.compile("/admin/second-factor/"))
    page.fill("input[name=code]", recovery)
    page.get_by_role("button", name="Continue").click()
    expect(page).to_have_url(re.compile("/admin/memories/memory/$"))
    context.close()


def compute_code(site: Stack, account: str) -> str:
    """Return what the phone shows."""
    key = site.rows(
        f"SELECT key FROM otp_totp_totpdevice JOIN auth_user ON auth_user.id = user_id WHERE username = '{account}'"
    )
    return f"{totp(bytes.fromhex(key[0][0])):06}"


def test_a_session_is_ended_by_an_administrator(browser: Browser, site: Stack, page: Page, account: str):
    other = open_context(browser, site).new_page()
    log_in(other, account, site.password)
    page.goto("/admin/access/consolesession/")
    row = page.locator("#result_list tr").filter(has_text=account)
    expect(row).to_contain_text("Chrome")
    row.locator("input[type=checkbox]").check()
    page.locator("select[name=action]").select_option("end_selected")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("body")).to_contain_text(f"Ended: {account}")
    other.goto("/admin/password_change/")
    expect(other).to_have_url(re.compile("/admin/login/"))
    other.context.close()
