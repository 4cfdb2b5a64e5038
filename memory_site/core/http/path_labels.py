"""Labels that are part of a URL's path, and the ones that cannot be.

The server gets the path decoded, so it cannot tell `a%2Fmemories` from `a/memories`. Only input is checked: what is
stored already can be read and deleted."""

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

from memory_site.core.http.fields import Label

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
RELATIVE_PARTS = frozenset({".", ".."})
#: The last parts of the paths below a user and a repository.
USER_OPERATIONS = ("memories", "graph", "retrieve", "forget", "finish-task")
REPOSITORY_OPERATIONS = ("ingestions",)


def check_path_label(label: str) -> str:
    """Return the label. Raises ValueError if routing, clients or proxies do not keep it as it is in a path."""
    if CONTROL_CHARACTERS.search(label):
        raise ValueError("may not contain control characters")
    if not RELATIVE_PARTS.isdisjoint(label.split("/")):
        raise ValueError("cannot be used in an address: a relative path")
    if label.startswith("/") or label.endswith("/"):
        raise ValueError("may not begin or end with a slash")
    return label


def refuse_endings(*operations: str) -> Callable[[str], str]:
    """Return a check that refuses labels which end like one of the operations below them."""
    endings = tuple(f"/{name}" for name in operations)

    def check_ending(label: str) -> str:
        if label.endswith(endings):
            raise ValueError(f"cannot be used in an address: may not end with {' or '.join(endings)}")
        return label

    return check_ending


PathLabel = Annotated[Label, AfterValidator(check_path_label)]
UserId = Annotated[PathLabel, AfterValidator(refuse_endings(*USER_OPERATIONS))]
RepoId = Annotated[PathLabel, AfterValidator(refuse_endings(*REPOSITORY_OPERATIONS))]
