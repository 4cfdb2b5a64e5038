"""Every page of the sidebar in Chromium: it opens without a failing script, and axe finds nothing, in both themes."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.browser import PHONE, THEMES, find_violations, set_theme


def list_sidebar_links(page: Page) -> list[str]:
    links = page.locator("#nav-sidebar a[href^='/admin/']").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    return sorted({link for link in links if "logout" not in link})


@pytest.mark.parametrize("theme", THEMES)
def test_every_page_of_the_sidebar_opens_and_is_accessible(page, theme):
    set_theme(page, theme)
    page.goto("/admin/")
    links = list_sidebar_links(page)
    assert len(links) > 20
    faults: list[str] = []
    for link in links:
        page.goto(link)
        expect(page.locator("html.dark")).to_have_count(int(theme == "dark"))
        expect(page.locator("h1").first).to_be_attached()
        faults += [f"{link} {rule}" for rule in find_violations(page)]
    assert faults == []


def test_no_page_scrolls_sideways_on_a_phone(page):
    page.set_viewport_size(PHONE)
    page.goto("/admin/")
    for link in list_sidebar_links(page):
        page.goto(link)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], link
