"""A memory's history, and the search bench, as an operator uses them."""

import re

from playwright.sync_api import Page, expect

from tests.browser.browser import find_violations
from tests.stack.stack import Stack


def test_history_shows_the_difference_and_restores_a_version(page: Page, site: Stack):
    memory = site.add("The lighthouse of Lowick is lit at nine.", data={"lamp": {"watts": 400}})
    site.call("PATCH", f"/memories/{memory['id']}", {"content": "The lighthouse of Lowick is lit at eight."})
    page.goto(f"/admin/memories/memory/{memory['id']}/change/")
    page.get_by_label("Find in this JSON").first.fill("watts")
    expect(page.locator(".json-hit")).to_have_text("watts")
    page.get_by_role("link", name="History", exact=True).click()
    expect(page.locator("del")).to_have_text("nine")
    expect(page.locator("ins")).to_have_text("eight")
    assert find_violations(page) == []
    page.get_by_role("link", name="Side by side").click()
    expect(page.locator(".difference-before del")).to_have_text("nine")
    page.get_by_role("button", name="Restore what stood here before").click()
    expect(page.locator("#content-main")).to_contain_text("lit at nine.")
    expect(page.locator(".memory-neighbours li")).to_have_count(2)


def test_bench_compares_two_settings_and_keeps_a_test_search(page: Page, site: Stack):
    for text in ("The keeper of the lighthouse paints it white.", "The paint of the lighthouse dries in a day."):
        site.add(text)
    page.goto("/admin/bench/testsearch/")
    page.get_by_label("Query").fill("who paints the lighthouse")
    page.get_by_text("Compare with a second setting").click()
    page.locator("select[name=b_mode]").select_option("text")
    expect(page.get_by_label("Run it too, side by side")).to_be_checked()
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("heading", name=re.compile("setting"))).to_have_count(2)
    expect(page.get_by_role("heading", name="What moved")).to_be_visible()
    assert find_violations(page) == []
    page.get_by_label("Run it too, side by side").uncheck()
    page.get_by_role("button", name="Search").click()
    page.get_by_label("must be found").first.check()
    page.get_by_label("Name of the test search").fill("who paints")
    page.get_by_role("button", name="Save as test search").click()
    expect(page.locator(".bench-expected")).to_have_count(1)
    page.get_by_role("link", name="Test searches").click()
    page.get_by_role("button", name="Run all").click()
    expect(page.locator("body")).to_contain_text("1 of 1 test searches found all that they must find")
