"""Jobs in Chromium: many memories are deleted and come back; a job outlives its killed worker, and is cancelled."""

from playwright.sync_api import Page, TimeoutError, expect

from tests.stack.stack import Stack, wait_until

LIST = "/admin/memories/memory/"
#: What a slow machine may take from a click to the end of a short job.
JOB_MILLISECONDS = 60_000
#: A job comes to this memory last.
LOCK_LAST_SQL = "SELECT 1 FROM memories_memory WHERE user_id = 'ignatius2' ORDER BY id DESC LIMIT 1 FOR UPDATE"


def add_memories(site: Stack, user: str, count: int) -> None:
    items = [{"content": f"{user} has seen ship {number}.", "user_id": user} for number in range(count)]
    answer = site.call("POST", "/memories/bulk", {"memories": items})
    assert answer.status == 201, answer.data


def count_memories(site: Stack, user: str) -> int:
    return site.rows(f"SELECT count(*) FROM memories_memory WHERE user_id = '{user}'")[0][0]


def choose_all(page: Page, user: str, action: str) -> None:
    """Tick the page, choose all that match, and pick an action."""
    page.goto(f"{LIST}?user_id={user}")
    page.locator("#action-toggle").check()
    page.locator(".question a").click()
    page.select_option("select[name=action]", action)
    page.get_by_role("button", name="Run").click()
    page.wait_for_url("**/plan/**")


def test_many_memories_are_deleted_and_come_back(page: Page, site: Stack) -> None:
    add_memories(site, "harriet", 120)
    choose_all(page, "harriet", "delete")
    expect(page.locator(".job-count")).to_contain_text("120 memories")
    expect(page.locator(".spoken-row")).to_have_count(10)
    page.fill("input[name=typed]", "something else")
    page.get_by_role("button", name="Delete 120").click()
    expect(page.get_by_text("This is not the name")).to_be_visible()
    assert count_memories(site, "harriet") == 120
    page.fill("input[name=typed]", "default")
    page.get_by_role("button", name="Delete 120").click()
    page.wait_for_url("**/change/")
    expect(page.get_by_text("finished", exact=True)).to_be_visible(timeout=JOB_MILLISECONDS)
    assert count_memories(site, "harriet") == 0
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("It takes back")).to_be_visible()
    expect(page.get_by_text("finished", exact=True)).to_be_visible(timeout=JOB_MILLISECONDS)
    assert count_memories(site, "harriet") == 120


def read_job(site: Stack, pk: str) -> dict:
    return site.call("GET", f"/jobs/{pk}").json()


def test_a_job_goes_on_after_its_worker_is_killed_and_is_cancelled(page: Page, site: Stack) -> None:
    for number in range(3):
        add_memories(site, f"ignatius{number}", 1000)
    with site.holding(LOCK_LAST_SQL) as wait_until_worker_waits:
        answer = site.call("POST", "/jobs", {"action": "tag", "parameters": {"tags": ["seen"]}, "text": "ignatius"})
        pk = answer.json()["id"]
        wait_until_worker_waits()
        killed = site.kill("worker")
    before = read_job(site, pk)
    assert before["state"] == "running"
    assert 0 < before["done"] < 3000
    page.goto(f"/admin/jobs/job/{pk}/change/")
    wait_until(lambda: site.is_back("worker", killed), 60, "the supervisor starts a worker again")
    wait_until(lambda: read_job(site, pk)["done"] > before["done"], 90, "the job goes on")
    button = page.get_by_role("button", name="Cancel")
    expect(button.or_(page.get_by_text("finished", exact=True)).first).to_be_visible()
    try:
        button.click(timeout=5_000 if read_job(site, pk)["state"] == "finished" else None)
    except TimeoutError:
        assert read_job(site, pk)["state"] == "finished"  # there is no such button any more
    wait_until(lambda: read_job(site, pk)["state"] in ("cancelled", "finished"), 60, "the job ends")
    job = read_job(site, pk)
    tagged = site.rows("SELECT count(*) FROM memories_memory WHERE tags @> ARRAY['seen']::varchar[]")[0][0]
    assert tagged == job["done"]
    changed = site.rows(
        f"SELECT count(*), count(DISTINCT memory_id) FROM history_memoryversion WHERE job_id = '{job['id']}'"
    )
    assert changed == [(tagged, tagged)]
    page.reload()
    expect(page.get_by_text(job["state"], exact=True)).to_be_visible()
