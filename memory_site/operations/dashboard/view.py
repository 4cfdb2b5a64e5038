"""The console's first page."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

from django.contrib import admin
from django.http import HttpRequest
from django.utils.http import urlencode

from memory_site.operations.dashboard.attention import WATCHES, summarize
from memory_site.operations.dashboard.cards import CARDS
from memory_site.operations.dashboard.content import Card, Notice, Scope, Watch
from memory_site.operations.dashboard.periods import DEFAULT_PERIOD, PERIODS, Period
from memory_site.operations.dashboard.snapshots import Reader, Snapshot
from sessions_app.admin.namespaces import build_namespace_form, get_selected_namespace
from sessions_app.models import SessionMemory


class ShownCard(NamedTuple):
    card: Card
    snapshot: Snapshot


def build_dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Return the context of the page: the cards and notices that this user may see."""
    namespace, period = get_selected_namespace(request), get_period(request)
    scope, reader = Scope(namespace.pk if namespace else None, period), Reader()
    form = build_namespace_form(request, admin.site.get_model_admin(SessionMemory), namespace)
    cards = list(read_cards(request, reader, scope))
    return context | {
        "title": "Dashboard",
        "namespace_form": form,
        "media": form.media,
        "namespace": namespace,
        "period": period,
        "periods": [(each, get_period_query(scope, each)) for each in PERIODS.values()],
        "notices": list(read_notices(request, reader, scope)),
        "cards": cards,
    }


def get_period(request: HttpRequest) -> Period:
    return PERIODS.get(request.GET.get("period", ""), DEFAULT_PERIOD)


def get_period_query(scope: Scope, period: Period) -> str:
    return "?" + urlencode(scope.filters | {"period": period.name})


def read_cards(request: HttpRequest, reader: Reader, scope: Scope) -> Iterator[ShownCard]:
    for card in CARDS:
        if request.user.has_perms(card.permissions.split()):
            yield ShownCard(card, reader.read(card.get_key(scope), partial(card.build, scope), card.is_kept))


def read_notices(request: HttpRequest, reader: Reader, scope: Scope) -> Iterator[Notice]:
    """Yield what needs attention, the worst first."""
    watches = [watch for watch in WATCHES if request.user.has_perms(watch.permissions.split())]
    notices = [notice for watch in watches for notice in read_watch(reader, scope, watch)]
    yield from sorted(notices, key=lambda notice: notice.tone != "danger")


def read_watch(reader: Reader, scope: Scope, watch: Watch) -> Iterator[Notice]:
    snapshot = reader.read(watch.get_key(scope), lambda: list(watch.find(scope)), watch.is_kept)
    yield from summarize(snapshot.content or [], watch)
    if snapshot.error:
        yield Notice(f"It is not known what {watch.name} need: {snapshot.error}", "", "")
