"""The console by keys alone."""

import re

import pytest
from playwright.sync_api import Page, expect


@pytest.fixture
def memories(site) -> None:
    for text in ("The first berth is free.", "The second berth is taken."):
        site.add(text, user_id="keyboard@acme.example")
    site.call("POST", "/sessions/keyboard-session/interactions", {"query": "Which berth?", "answer": "The first."})


def open_list(page: Page) -> None:
    page.goto("/admin/memories/memory/?user_id=keyboard@acme.example")
    expect(page.locator("#result_list tbody tr")).to_have_count(2)


def test_j_k_x_and_enter_reach_select_and_open_a_row(page, memories):
    open_list(page)
    for key in ("j", "j", "k", "j", "x"):
        page.keyboard.press(key)
    second = page.locator("#result_list tbody tr").nth(1)
    expect(second.locator("input.action-select")).to_be_checked()
    address = second.locator("a[href*='/change/']").first.get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{address}")
    page.keyboard.press("e")
    expect(page.locator("textarea[name=content]")).to_be_visible()


def test_a_slash_goes_to_the_search_box_where_keys_are_letters(page, memories):
    open_list(page)
    page.keyboard.press("/")
    page.keyboard.type("jx?")
    expect(page.locator("#searchbar")).to_have_value("jx?")
    expect(page.locator("#keys-help")).not_to_be_visible()


@pytest.mark.parametrize(
    ("typed", "title", "address"),
    [
        ("backup", "Backups", "/admin/operations/backup/"),
        ("forget --user", "Delete one user", "/admin/"),
        ("keyboard@", "keyboard@acme.example", "/admin/graph/usertotal/user/"),
        ("keyboard-s", "keyboard-session", "/admin/sessions_app/sessionmemory/"),
        ("second berth is taken", "The second berth is taken.", "/admin/memories/memory/"),
    ],
    ids=["page", "command", "user", "session", "memory"],
)
def test_the_palette_finds(page, memories, typed, title, address):
    page.goto("/admin/")
    page.keyboard.press("Control+k")
    page.locator("#search-input-command").press_sequentially(typed)
    found = page.locator("#command-results-list a", has_text=title)
    expect(found.first).to_have_attribute("href", re.compile(address))


def test_a_question_mark_lists_the_keys(page):
    page.goto("/admin/")
    page.keyboard.press("?")
    expect(page.locator("#keys-help")).to_contain_text("next and previous row")
    page.keyboard.press("Escape")
    expect(page.locator("#keys-help")).not_to_be_visible()
