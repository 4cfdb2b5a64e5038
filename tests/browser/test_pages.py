"""Every page of the sidebar in Chromium, in both themes: it opens without a failing script, axe finds nothing, and on a
phone nothing scrolls sideways."""

import pytest
from playwright.sync_api import Page, expect
from playwright.sync_api import TimeoutError as Late

from tests.browser.browser import DESKTOP, PHONE, THEMES, find_violations, set_theme


def list_sidebar_links(page: Page) -> list[str]:
    links = page.locator("#nav-sidebar a[href^='/admin/']").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    return sorted({link for link in links if "logout" not in link})


@pytest.mark.parametrize("theme", THEMES)
def test_every_page_of_the_sidebar_opens_and_is_accessible_and_fits_a_phone(page, theme):
    set_theme(page, theme)
    page.goto("/admin/")
    links = list_sidebar_links(page)
    assert len(links) > 20
    faults: list[str] = []
    for link in links:
        page.set_viewport_size(DESKTOP)
        page.goto(link)
        expect(page.locator("html.dark")).to_have_count(int(theme == "dark"))
        expect(page.locator("h1").first).to_be_attached()
        faults += [f"{link} {rule}" for rule in find_violations(page)]
        faults += [] if fits_phone(page) else [f"{link} scrolls sideways"]
    assert faults == []


def fits_phone(page: Page) -> bool:
    """Whether the open page has a phone's width once its charts have taken that width, which takes a frame or two."""
    page.set_viewport_size(PHONE)
    try:
        page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=PHONE["width"])
    except Late:
        return False
    return True
