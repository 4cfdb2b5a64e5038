"""Finding and selecting in Chromium: search modes, an order, a facet, a saved filter, all that match."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.browser import DESKTOP, find_violations
from tests.stack.stack import Stack, run_manage

ROWS = "#result_list tbody tr"
MEMORIES = [
    {
        "content": f"crane {number} lifts {'ZX-9912-QQ71' if number == 7 else 'containers'}",
        "user_id": "ingrid@harbour.example" if number % 2 else "olaf@harbour.example",
        "importance": 1 + number % 5,
        "tags": ["crane"],
    }
    for number in range(60)
]


@pytest.fixture(scope="module")
def address(site: Stack) -> str:
    """The list of a namespace of its own."""
    key = run_manage("create_api_key", "--namespace", "harbour", **site.environment).stdout.strip()
    answer = site.call("POST", "/memories/bulk", {"memories": MEMORIES}, Authorization=f"Bearer {key}")
    assert answer.status == 201
    [[pk]] = site.rows("SELECT id FROM sessions_app_namespace WHERE name = 'harbour'")
    return f"/admin/memories/memory/?namespace={pk}"


def search(page: Page, text: str, mode: str) -> None:
    page.select_option("select[name=mode]", label=mode)
    page.fill("#searchbar", text)
    page.press("#searchbar", "Enter")
    page.wait_for_load_state()


def test_text_and_pattern_are_found_and_marked(page, address):
    page.goto(address)
    search(page, "9912-qq", "Exact text")
    expect(page.locator(ROWS)).to_have_count(1)
    expect(page.locator(f"{ROWS} mark")).to_have_text("9912-QQ")
    search(page, r"crane \d lifts", "Pattern")
    expect(page.locator(ROWS)).to_have_count(10)
    search(page, "crane (", "Pattern")
    expect(page.locator("body")).to_contain_text("Nothing can match: pattern: ")


def test_list_is_ordered_filtered_by_a_facet_and_the_filter_is_saved(page, address):
    page.goto(address)
    page.locator("thead").get_by_role("link", name="Importance").click()
    expect(page.locator(f"{ROWS} .field-level").first).to_contain_text("trivial")
    page.locator("a", has_text="Filters").first.click()
    page.locator(".list-facet").get_by_role("link", name="ingrid@harbour.example", exact=True).click()
    expect(page.locator(ROWS)).to_have_count(30)
    expect(page.locator(".list-chips")).to_contain_text("ingrid@harbour.example")
    page.get_by_text("Save filter").click()
    page.fill(".list-menu input[name=name]", "Ingrid’s cranes")
    page.get_by_role("button", name="Save", exact=True).click()
    page.goto(address)
    page.locator(".list-tabs").get_by_role("link", name="Ingrid’s cranes").click()
    expect(page.locator(ROWS)).to_have_count(30)
    assert find_violations(page) == []


def test_all_that_match_are_selected_not_only_the_page(page, address):
    page.goto(f"{address}&tag=crane")
    expect(page.locator(ROWS)).to_have_count(50)
    page.check("#action-toggle")
    page.get_by_text("Select all 60").click()
    page.select_option("select[name=action]", index=1)
    page.get_by_role("button", name="Run").click()
    expect(page.locator("body")).to_contain_text("60")


def test_list_of_keys_fits_a_desktop_with_the_actions_of_its_rows(page, site):
    name = "claude-code on laptop, in MEMORY_KEY"
    run_manage("create_api_key", "--namespace", "default", "--name", name, **site.environment)
    page.goto("/admin/sessions_app/apikey/")
    actions = page.locator(ROWS, has_text=name).locator("td").last.bounding_box()
    assert actions["x"] + actions["width"] <= DESKTOP["width"]
