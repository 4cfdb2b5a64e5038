"""Pictures of every page of the console: of each list in the sidebar, and of its first row's page.

`python -m tests.browser.screenshots --out DIRECTORY` starts a site of its own with examples of everything, or with
`--url --user --password` looks at one that runs.
"""

import argparse
import getpass
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from playwright.sync_api import Browser, Page
from rich.progress import track

from tests.browser.browser import DESKTOP, PHONE, THEMES, log_in, open_context, running_browser, set_theme
from tests.browser.examples import store_examples
from tests.stack.stack import running_stack

VIEWS = [(f"desktop-{theme}", DESKTOP, theme) for theme in THEMES] + [("phone-light", PHONE, "light")]
FIRST_ROW = "#result_list tbody tr th a, #result_list tbody tr td a[href*='/change/']"


@contextmanager
def open_site(arguments: argparse.Namespace) -> Iterator[Any]:
    """Provide the site to look at, with `url` and `password`."""
    if arguments.url:
        password = arguments.password or getpass.getpass(f"Password of {arguments.user}: ")
        yield SimpleNamespace(url=arguments.url, password=password)
        return
    with running_stack(EMBEDDER="hashing") as site:
        store_examples(site)
        yield site


def list_addresses(page: Page) -> list[str]:
    """Return the sidebar's pages, and after each list the page of its first row."""
    page.goto("/admin/")
    links = page.locator("#nav-sidebar a[href^='/admin/']").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    addresses = []
    for link in dict.fromkeys(link for link in links if "logout" not in link):
        page.goto(link)
        rows = page.locator(FIRST_ROW)
        addresses += [link, *([rows.first.get_attribute("href")] if rows.count() else [])]
    return addresses


def name_picture(address: str) -> str:
    path = re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d{4,}", "one", address.removeprefix("/admin/").partition("?")[0])
    return re.sub(r"[^a-z0-9]+", "-", path.lower()).strip("-") or "dashboard"


def take_pictures(browser: Browser, site: Any, user: str, out: Path) -> int:
    """Save a picture of each page in each view. Return their number."""
    context = open_context(browser, site)
    first = context.new_page()
    log_in(first, user, site.password)
    addresses, login = list_addresses(first), context.storage_state()
    for view, viewport, theme in VIEWS:
        page = open_context(browser, site, storage_state=login, viewport=viewport).new_page()
        set_theme(page, theme)
        for address in track(addresses, description=view):
            page.goto(address)
            page.wait_for_load_state("networkidle")
            page.screenshot(path=out / view / f"{name_picture(address)}.png", full_page=True)
        page.context.close()
    return len(addresses) * len(VIEWS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--url", help="A site that runs, instead of one with examples.")
    parser.add_argument("--user", default="admin")
    parser.add_argument("--password", help="Asked for if it is not given.")
    arguments = parser.parse_args()
    with open_site(arguments) as site, running_browser() as browser:
        print(f"{take_pictures(browser, site, arguments.user, arguments.out)} pictures in {arguments.out}")


if __name__ == "__main__":
    main()
