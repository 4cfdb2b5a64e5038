"""Chromium, the system's own, signed in to a running site's console."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from memory_site.operations.selftest.scratch_site import ScratchSite

#: The one without windows takes a quarter of the processor time that the whole one takes.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser")
CHROMIUM = next(filter(None, map(shutil.which, PROGRAMS)), "")
THEMES = ("light", "dark")
DESKTOP, PHONE = {"width": 1400, "height": 900}, {"width": 400, "height": 850}
TIMEOUT_MILLISECONDS = 60_000
#: What axe checks: WCAG 2.1, levels A and AA. Of what is well it need not write down every place.
AXE_OPTIONS = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]},
    "resultTypes": ["violations"],
}


@contextmanager
def running_browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        expect.set_options(timeout=TIMEOUT_MILLISECONDS)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"], timeout=180_000)
        try:
            yield browser
        finally:
            browser.close()


def open_context(browser: Browser, site: ScratchSite, **options: Any) -> BrowserContext:
    """Open a separate profile. `storage_state` of another one shares its login."""
    context = browser.new_context(base_url=site.url, viewport=options.pop("viewport", DESKTOP), **options)
    context.set_default_timeout(TIMEOUT_MILLISECONDS)
    return context


def log_in(page: Page, name: str, password: str) -> None:
    page.goto("/admin/login/")
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url("**/admin/")


def watch_faults(page: Page) -> list[str]:
    """Return a list that gets every failed script and every answer of 500 and above."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(f"{page.url}: {error}"))
    page.on("response", lambda r: faults.append(f"{r.status} {r.url}") if r.status >= 500 else None)
    return faults


def set_theme(page: Page, theme: str) -> None:
    """Choose the console's theme as its switch does. It applies from the next page on."""
    page.add_init_script(f"localStorage.setItem('adminTheme', JSON.stringify('{theme}'))")


def find_violations(page: Page) -> list[str]:
    """Return what axe objects to on the page, each as its rule and the first places."""
    results = Axe().run(page, options=AXE_OPTIONS).response["violations"]
    return [f"{rule['id']}: {', '.join(str(node['target'][0]) for node in rule['nodes'][:3])}" for rule in results]
