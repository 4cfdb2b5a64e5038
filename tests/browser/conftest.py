"""One site and one Chromium for all browser tests, and a page of a signed-in administrator for each."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, StorageState

from tests.browser.browser import CHROMIUM, log_in, open_context, running_browser, watch_faults
from tests.stack.stack import Stack, running_stack


@pytest.fixture(scope="package")
def site() -> Iterator[Stack]:
    """A whole product with the worker, whose database the tests of this folder share: each makes rows of its own."""
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    with running_stack(EMBEDDER="hashing", SQL_PAGE="true") as stack:
        yield stack


@pytest.fixture(scope="package")
def browser(site: Stack) -> Iterator[Browser]:
    with pytest.MonkeyPatch.context() as patch:
        # Playwright keeps an event loop in this thread, in which Django would refuse its database.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")
        with running_browser() as browser:
            yield browser


@pytest.fixture(scope="package")
def login(browser: Browser, site: Stack) -> StorageState:
    """The cookies of the administrator, who signs in once."""
    context = open_context(browser, site)
    log_in(context.new_page(), "admin", site.password)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def page(browser: Browser, site: Stack, login: StorageState) -> Iterator[Page]:
    """A tab of the administrator. The test fails when a script fails or the site answers 500."""
    context = open_context(browser, site, storage_state=login)
    page = context.new_page()
    faults = watch_faults(page)
    yield page
    context.close()
    assert faults == []
