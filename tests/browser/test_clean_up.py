"""Near duplicates in the console: looked for, merged, and taken back."""

import re

from playwright.sync_api import Page, expect

from tests.browser.browser import find_violations
from tests.stack.stack import Stack

USER = "tidy@acme.example"
COPY = "the tidy berth is closed on sundays"
WHOLE = "The tidy berth is closed on Sundays. Ask the harbour master for a key."
SECONDS = 60_000


def read(site: Stack, memory: dict) -> dict:
    return site.call("GET", f"/memories/{memory['id']}").json()


def wait_for_job(page: Page) -> None:
    """Wait for the end of the job whose page this is."""
    expect(page.locator("#run")).to_contain_text("finished", timeout=SECONDS)


def test_duplicates_are_merged_and_the_copy_comes_back(page: Page, site: Stack):
    copy, whole = (site.add(text, user_id=USER, tags=[tag]) for text, tag in ((COPY, "copied"), (WHOLE, "whole")))
    page.goto("/admin/cleanup/duplicate/clean-up/")
    expect(page.locator("h2", has_text="Texts")).to_be_visible()
    assert find_violations(page) == []
    page.get_by_role("button", name="Look now").click()
    page.wait_for_url(re.compile(r"/jobs/job/"))
    if "/change/" not in page.url:  # one job for each namespace
        page.locator("#result_list a", has_text="duplicates and secrets").first.click()
    wait_for_job(page)

    page.goto("/admin/cleanup/duplicate/")
    row = page.locator("#result_list tbody tr", has_text="tidy berth")
    expect(row.locator("ins").last).to_contain_text("Ask the harbour master for a key.")
    assert find_violations(page) == []
    row.locator("input.action-select").check()
    page.locator("select[name=action]").select_option("merge")
    page.locator("button[name=index], button:has-text('Run')").first.click()
    page.get_by_role("button", name="start").click()
    wait_for_job(page)
    merged = page.url
    assert (read(site, copy)["state"], read(site, copy)["superseded_by"]) == ("superseded", whole["id"])
    assert read(site, whole)["tags"] == ["whole", "copied"]

    page.goto(merged)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("It takes back")).to_be_visible()  # the page of another job
    wait_for_job(page)
    assert read(site, copy)["state"] == "active"
    assert read(site, whole)["tags"] == ["whole"]
