"""Delete, look into the trash, and have it back."""

from playwright.sync_api import Page, expect

from tests.stack.stack import Stack


def test_a_deleted_memory_comes_back_from_the_trash(page: Page, site: Stack):
    text = "The kettle in the tea kitchen is called Mildred."
    memory = site.add(text, tags=["kitchen"])
    site.call("DELETE", f"/memories/{memory['id']}")
    page.goto("/admin/history/trashedmemory/")
    page.get_by_role("link", name=text).click()
    expect(page.get_by_text("kitchen").first).to_be_visible()
    page.get_by_role("link", name="Restore").or_(page.get_by_role("button", name="Restore")).first.click()
    page.get_by_role("dialog").or_(page.locator("form")).get_by_role("button", name="Restore").last.click()
    page.wait_for_url(f"**/memories/memory/{memory['id']}/change/")
    expect(page.get_by_text("1 memory is back.")).to_be_visible()
    page.goto("/admin/history/memoryversion/")
    expect(page.get_by_text(text).first).to_be_visible()


def test_selected_memories_come_back(page: Page, site: Stack):
    for number in range(2):
        memory = site.add(f"Spare cup {number} is blue.", user_id="cups")
        site.call("DELETE", f"/memories/{memory['id']}")
    page.goto("/admin/history/trashedmemory/?q=cups")
    expect(page.locator("#result_list tbody tr")).to_have_count(2)
    page.locator("#action-toggle").check()
    page.select_option("select[name=action]", "restore_selected")
    page.locator("button[name=index], [name=index]").first.click()
    expect(page.get_by_text("2 memories are back.")).to_be_visible()
    expect(page.locator("#result_list tbody tr")).to_have_count(0)
