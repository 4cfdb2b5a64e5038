"""The twelve tasks that operators did by hand, each in the console: from the page of operations tasks to its end."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.stack.stack import Stack, run_manage

NAMESPACE = "operator tasks"
RECORD = {"attributes": {"type": "Account"}, "Id": "0015g00000ZzZ99AAA", "Name": "Harbour Works"}
MEMORIES = [
    {"content": "Ada drinks tea.", "user_id": "ada", "summary": "Won the Acme deal"},
    {"content": "Ada waits.", "user_id": "ada", "memory_type": "temporary_state", "metadata": {"ref": "ZX-9912-QQ71"}},
    {"content": "The lift is out of order."},
]


@pytest.fixture(scope="module")
def key(site: Stack) -> str:
    return run_manage("create_api_key", "--namespace", NAMESPACE, **site.environment).stdout.strip()


@pytest.fixture
def own(site: Stack, key: str) -> dict[str, Any]:
    """A namespace of this file's own, filled again with five memories: its id, and a function that counts them."""
    headers = {"Authorization": f"Bearer {key}"}
    assert site.call("POST", "/memories/bulk", {"memories": MEMORIES}, **headers).status == 201
    tool = {"user_id": "ada", "agent_id": "crm", "tool": "salesforce", "result": {"records": [RECORD]}}
    assert site.call("POST", "/tool-results", tool, **headers).status < 300
    [[pk]] = site.rows(f"SELECT id FROM sessions_app_namespace WHERE name = '{NAMESPACE}'")
    return {"pk": pk, "count": partial(count_memories, site, NAMESPACE)}


def count_memories(site: Stack, name: str) -> int:
    """Return the number of memories of a namespace; 0 too while it is not there."""
    namespace = f"(SELECT id FROM sessions_app_namespace WHERE name = '{name}')"
    [[count]] = site.rows(f"SELECT count(*) FROM memories_memory WHERE namespace_id = {namespace}")
    return count


def open_task(page: Page, title: str, **parameters: object) -> None:
    """Click the card, and narrow the page by parameters of its address."""
    page.goto("/admin/operations/desk/")
    with page.expect_navigation():
        page.get_by_role("link", name=title, exact=True).click()
    if parameters:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        page.goto(f"{page.url}{'&' if '?' in page.url else '?'}{query}")


def expect_rows(page: Page, count: int) -> None:
    expect(page.locator("#result_list tbody tr")).to_have_count(count)


def test_recent_memories(page, own):
    open_task(page, "Recent memories", namespace=own["pk"])
    expect_rows(page, 5)


def test_any_text_inside_content_and_json(page, own):
    open_task(page, "Find a text anywhere", namespace=own["pk"], q="9912")
    expect_rows(page, 1)


def test_summaries_by_pattern(page, own):
    open_task(page, "Summaries by pattern", namespace=own["pk"])
    page.fill("input[name=pattern]", "^won .*deal$")
    page.get_by_role("button", name="Show", exact=True).click()
    page.get_by_role("link", name="Won the Acme deal").click()
    expect(page.locator("body")).to_contain_text("Ada drinks tea.")


def test_counts_per_type_and_per_user(page, own):
    open_task(page, "Counts by type and by user", namespace=own["pk"])
    expect(page.get_by_role("row", name="(no user)")).to_contain_text("1")
    expect(page.get_by_role("row", name="total").first).to_contain_text("5")
    page.get_by_role("row", name="ada").get_by_role("link").click()
    expect_rows(page, 4)
    page.go_back()
    page.get_by_role("row", name="temporary state").get_by_role("link").click()
    expect_rows(page, 1)


@pytest.mark.parametrize("title", ["Entities", "Entities of one system"])
def test_entities_and_those_of_one_system(page, own, title):
    open_task(page, title, namespace=own["pk"], entity_system="salesforce")
    expect_rows(page, 1)
    open_task(page, title, namespace=own["pk"], entity_system="jira")
    expect_rows(page, 0)


def test_one_tool_output_is_read_as_a_tree(page, own):
    open_task(page, "Read a tool output", namespace=own["pk"])
    page.locator("#result_list tbody tr a").first.click()
    expect(page.locator(".json-view").first).to_contain_text("Harbour Works")


def test_one_user_is_exported_and_erased(page, own):
    open_task(page, "Delete one user’s data", namespace=own["pk"], user="ada")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export this user first").click()
    lines = [json.loads(line) for line in download.value.path().read_text().splitlines()]
    assert sum(line["kind"] == "memory" for line in lines) == 4
    confirm(page, "ben", "Erase this user")
    assert own["count"]() == 5
    confirm(page, "ada", "Erase this user")
    expect(page.locator("body")).to_contain_text("The user is erased")
    assert own["count"]() == 1


def confirm(page: Page, word: str, button: str) -> None:
    page.fill("input[name=word]", word)
    with page.expect_navigation():
        page.get_by_role("button", name=button).click()


def test_memories_are_wiped_by_a_job(page, own):
    open_task(page, "Wipe memories", namespace=own["pk"])
    expect(page.locator("#content-main li", has_text="memories")).to_contain_text("5")
    confirm(page, NAMESPACE, "Wipe memories")
    expect(page.locator("body")).to_contain_text("A worker deletes the memories")
    wait_until(page, lambda: own["count"]() == 0)


def wait_until(page: Page, condition: Callable[[], bool]) -> None:
    for _ in range(600):
        if condition():
            return
        page.wait_for_timeout(100)
    pytest.fail("It has not happened within 60 s.")


def test_everything_is_wiped_and_the_keys_stay(page, own, site):
    open_task(page, "Wipe everything", namespace=own["pk"])
    confirm(page, NAMESPACE, "Wipe everything")
    expect(page.locator("body")).to_contain_text("their API keys are left")
    assert own["count"]() == 0
    assert site.rows(f"SELECT count(*) FROM sessions_app_apikey WHERE namespace_id = {own['pk']}") == [(1,)]


def test_the_database_is_asked_and_keeps_its_secrets(page, own):
    open_task(page, "Database shell")
    ask(page, f"SELECT count(*) AS memories FROM memories_memory WHERE namespace_id = {own['pk']}")
    expect(page.locator(".sql-result td").first).to_have_text("5")
    ask(page, "SELECT digest FROM sessions_app_apikey")
    expect(page.get_by_role("alert")).to_contain_text("permission denied")


def ask(page: Page, statement: str) -> None:
    page.fill("textarea[name=statement]", statement)
    with page.expect_navigation():
        page.get_by_role("button", name="Run", exact=True).click()


def test_a_namespace_is_cloned_by_the_worker(page, own, site):
    page.goto(f"/admin/sessions_app/namespace/{own['pk']}/change/")
    expect(page.locator("body")).to_contain_text("Newest memories")
    page.locator("[hx-get*='/clone'], [href*='/clone']").first.click()
    page.get_by_label("Name of the clone").fill(f"{NAMESPACE} clone")
    page.get_by_label("Name of the clone").press("Enter")
    page.wait_for_url("**/namespaceclone/**")
    wait_until(page, lambda: count_memories(site, f"{NAMESPACE} clone") == 5)
