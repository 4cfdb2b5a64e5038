"""Save test searches, run them, and say which expected memories were found at which place."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import F
from django.db.models.functions import Left, Now
from pydantic import ValidationError

from memories.bench.models import MAX_EXPECTED, MAX_NAME_LENGTH, MAX_TEST_SEARCHES, TestSearch
from memories.bench.run import SearchFailed, run_setting
from memories.bench.setting import Setting
from memories.models import Memory
from memory_site.core.http.fields import check_storable
from sessions_app.models import Namespace

MAX_WORDS = 120
OUTDATED_SETTING = "Its setting is of another release: save it again."


@dataclass(frozen=True)
class Expected:
    """An expected memory: `place` from 1, None when it was not among the hits; `words` None when it is gone."""

    id: UUID
    words: str | None
    place: int | None


@dataclass(frozen=True)
class Result:
    """The outcome of one test search. `problem`: why it could not run, or ""."""

    search: TestSearch
    expected: list[Expected]
    problem: str = ""

    @property
    def missing(self) -> list[Expected]:
        return [each for each in self.expected if each.place is None]

    @property
    def passed(self) -> bool:
        return not self.problem and not self.missing


def run_test_search(search: TestSearch, namespace: Namespace) -> Result:
    """Run one and note what it found. A problem is part of the result."""
    try:
        ids = run_setting(namespace, search.read_setting()).ids
    except (SearchFailed, ValidationError) as error:
        problem = str(error) if isinstance(error, SearchFailed) else OUTDATED_SETTING
        return Result(search, match_expected(search, []), problem)
    search.found = ids
    mine = TestSearch.objects.filter(namespace=search.namespace_id, pk=search.pk)
    mine.update(found=ids, last_run_at=Now())
    return Result(search, match_expected(search, ids))


def match_expected(search: TestSearch, found: list[UUID]) -> list[Expected]:
    places = {pk: place for place, pk in enumerate(found, 1)}
    rows = Memory.objects.in_namespace(search.namespace_id).filter(pk__in=search.expected)
    words = dict(rows.annotate(words=Left("content", MAX_WORDS)).values_list("pk", "words"))
    return [Expected(pk, words.get(pk), places.get(pk)) for pk in search.expected]


def run_test_searches(namespace: Namespace, max_seconds: float | None = None) -> Iterator[Result]:
    """Run those of a namespace, the longest not run first, until the time is over."""
    started = time.monotonic()
    searches = TestSearch.objects.filter(namespace=namespace.pk)
    for search in searches.order_by(F("last_run_at").asc(nulls_first=True), "pk")[:MAX_TEST_SEARCHES]:
        if max_seconds is not None and time.monotonic() - started > max_seconds:
            return
        yield run_test_search(search, namespace)


def save_test_search(
    namespace: Namespace, name: str, setting: Setting, expected: Iterable[UUID], by: str
) -> TestSearch:
    """Store a test search, in the place of one of the same name. Raises ValueError with a text for the reader."""
    name, expected = check_name(name), list(dict.fromkeys(expected))
    if not expected:
        raise ValueError("Mark at least one memory that it must find.")
    if len(expected) > MAX_EXPECTED:
        raise ValueError(f"A test search expects at most {MAX_EXPECTED} memories.")
    rows = TestSearch.objects.filter(namespace=namespace.pk)
    if not rows.filter(name=name).exists() and rows.count() >= MAX_TEST_SEARCHES:
        raise ValueError(f"A namespace has at most {MAX_TEST_SEARCHES} test searches.")
    values: dict[str, Any] = {"setting": setting.model_dump(mode="json", exclude_none=True), "expected": expected}
    values |= {"user_id": find_user(namespace, setting, expected), "updated_at": Now()}
    if setting.floor is None:
        values["setting"]["floor"] = None  # the model's own, and not the default
    search, _ = rows.update_or_create(
        namespace=namespace, name=name, defaults=values, create_defaults={**values, "created_by": by}
    )
    return search


def check_name(name: str) -> str:
    name = " ".join(check_storable(name).split())
    if not 1 <= len(name) <= MAX_NAME_LENGTH:
        raise ValueError(f"The name must have 1 to {MAX_NAME_LENGTH} characters.")
    return name


def find_user(namespace: Namespace, setting: Setting, expected: list[UUID]) -> str | None:
    """Return the user that it searches for, or whose memories it expects, if it is one."""
    if setting.filters and setting.filters.user_id:
        return setting.filters.user_id
    rows = Memory.objects.filter(namespace=namespace.pk, pk__in=expected)
    users = set(rows.order_by().values_list("user_id", flat=True).distinct())
    return users.pop() if len(users) == 1 else None
