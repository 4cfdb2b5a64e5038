"""Lists, which are read page by page while they are iterated."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
PageType = TypeVar("PageType")
Parameters = Mapping[str, Any]


class Pages:
    """Which page is next, and how many items it may have.

    Cursors are positions in an order, not numbers of rows: what is added or deleted meanwhile neither repeats nor skips
    any other item.
    """

    def __init__(self, params: Parameters, limit: int | None, page_size: int, cursor: str | None) -> None:
        self.params, self.left, self.page_size, self.cursor = params, limit, page_size, cursor
        self.is_first = True

    def find_next(self) -> Parameters | None:
        """Return the parameters of the next page, or None behind the last one."""
        size = self.page_size if self.left is None else min(self.page_size, self.left)
        if (self.left is not None and size <= 0) or not (self.is_first or self.cursor):
            return None
        return {**self.params, "limit": size, "cursor": self.cursor}

    def take(self, page: Any) -> None:
        """Go on behind this page."""
        self.is_first, self.cursor = False, page.next
        if self.left is not None:
            self.left -= len(page.results)


class Listing(Generic[Item, PageType]):
    """Items of a list of the API; each iteration begins at its start. `pages()` yields them in pages, whose `next` is
    the `cursor` where another listing goes on."""

    def __init__(
        self,
        fetch: Callable[[Parameters], PageType],
        params: Parameters,
        limit: int | None,
        page_size: int,
        cursor: str | None,
    ) -> None:
        self.fetch = fetch
        self.start = (params, limit, page_size, cursor)

    def pages(self) -> Iterator[PageType]:
        pages = Pages(*self.start)
        while (params := pages.find_next()) is not None:
            page = self.fetch(params)
            pages.take(page)
            yield page

    def __iter__(self) -> Iterator[Item]:
        for page in self.pages():
            yield from page.results  # type: ignore[attr-defined]  # every page has results


class AsyncListing(Generic[Item, PageType]):
    """The same for `async for`."""

    def __init__(
        self,
        fetch: Callable[[Parameters], Awaitable[PageType]],
        params: Parameters,
        limit: int | None,
        page_size: int,
        cursor: str | None,
    ) -> None:
        self.fetch = fetch
        self.start = (params, limit, page_size, cursor)

    async def pages(self) -> AsyncIterator[PageType]:
        pages = Pages(*self.start)
        while (params := pages.find_next()) is not None:
            page = await self.fetch(params)
            pages.take(page)
            yield page

    async def __aiter__(self) -> AsyncIterator[Item]:
        async for page in self.pages():
            for item in page.results:  # type: ignore[attr-defined]  # every page has results
                yield item
