"""Check the built documentation, and the links of the files beside it. Exit 1 and name what is wrong.

No page may load anything from another host. zensical itself finds dead links inside docs/, but not those of README.md,
CONTRIBUTING.md and the other files at the top.
"""

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
SITE = PROJECT / "site"
LINK = re.compile(r"\]\((?!\w+:)([^)#]+)")
#: Attributes through which a browser loads something by itself. A link that a reader follows is no load.
LOADING = {
    "audio": "src",
    "embed": "src",
    "iframe": "src",
    "img": "src",
    "link": "href",
    "object": "data",
    "script": "src",
    "source": "src",
    "video": "src",
}
NOT_LOADED = {"canonical", "next", "prev"}
FOREIGN = ("http:", "https:", "//")


class Loads(HTMLParser):
    """Collect the foreign addresses that a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.foreign: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        address = attributes.get(LOADING.get(tag, "")) or ""
        if address.startswith(FOREIGN) and attributes.get("rel") not in NOT_LOADED:
            self.foreign.append(address)


def foreign_loads(page: Path) -> list[str]:
    parser = Loads()
    parser.feed(page.read_text())
    return [f"{page.relative_to(SITE)} loads {address}" for address in parser.foreign]


def dead_links(document: Path) -> list[str]:
    targets = LINK.findall(document.read_text())
    return [f"{document.name} links to {target}" for target in targets if not (document.parent / target).exists()]


def main() -> None:
    pages, documents = sorted(SITE.rglob("*.html")), sorted(PROJECT.glob("*.md"))
    found = [line for page in pages for line in foreign_loads(page)]
    found += [line for document in documents for line in dead_links(document)]
    if found or not pages:
        sys.exit("\n".join(found) or "site/ has no pages.")
    print(f"{len(pages)} pages, and none loads anything from another host.")


if __name__ == "__main__":
    main()
