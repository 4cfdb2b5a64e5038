"""The first page in Chromium: figures that lead to their rows, a chart with its table, readable in both themes."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.browser import THEMES, find_violations, set_theme
from tests.stack.stack import Stack, run_manage

MEMORIES = [
    {"content": f"dashboard note {number}", "user_id": "dora" if number else "emil", "source_system": "browser tests"}
    for number in range(3)
]


@pytest.fixture(scope="module")
def address(site: Stack) -> str:
    """The dashboard of a namespace with three memories, which no other test has opened."""
    key = run_manage("create_api_key", "--namespace", "dashboard", **site.environment).stdout.strip()
    answer = site.call("POST", "/memories/bulk", {"memories": MEMORIES}, Authorization=f"Bearer {key}")
    assert answer.status == 201
    [[pk]] = site.rows("SELECT id FROM sessions_app_namespace WHERE name = 'dashboard'")
    return f"/admin/?namespace={pk}"


def read_figure(page: Page, card: str) -> str:
    return page.locator(f"#card-{card} .desk-figures dd").first.inner_text()


def test_figures_lead_to_their_rows(page, address):
    page.goto(address)
    assert read_figure(page, "types") == "3"
    page.locator("#card-users .desk-bars li", has_text="dora").locator(".desk-bar-value").click()
    expect(page.locator("#result_list tbody tr")).to_have_count(2)
    page.go_back()
    page.locator("#card-users").get_by_role("link", name="dora").click()
    expect(page.locator("h1")).to_contain_text("dora")


def test_a_period_is_chosen_and_the_chart_is_a_table_too(page, address):
    page.goto(address)
    page.get_by_role("link", name="24 hours").click()
    page.locator("#card-growth summary").click()
    cells = page.locator("#card-growth tbody tr").last.locator("a")
    cells.last.click()
    page.wait_for_url(re.compile("created_from"))
    expect(page.locator("#result_list tbody tr")).to_have_count(3)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("path", ["", "operations/heartbeat/health/"])
def test_dashboard_and_health_are_readable(page, theme, path):
    set_theme(page, theme)
    page.goto(f"/admin/{path}")
    assert find_violations(page) == []


def test_every_group_of_the_sidebar_is_in_sight(page):
    page.goto("/admin/")
    groups = page.locator("#nav-sidebar-apps h2")
    tops = groups.evaluate_all("all => all.map(each => each.getBoundingClientRect().bottom)")
    assert len(tops) > 5
    assert max(tops) < page.locator("#nav-sidebar-apps").bounding_box()["height"] + 200 < 900
    for title in groups.all_inner_texts():
        group = page.locator(
            "#nav-sidebar-apps > *, #nav-sidebar-apps div", has=page.locator("h2", has_text=title)
        ).last
        group.locator("h2").click()
        expect(group.locator("a").first).to_be_visible()
