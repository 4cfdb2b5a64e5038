"""Times in the console."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.utils import timezone

from memory_site.core.admin import formatting
from memory_site.core.admin.formatting import format_datetime


@pytest.mark.parametrize(
    ("distance", "words"),
    [
        (timedelta(), "now"),
        (timedelta(seconds=-90), "1 min ago"),
        (timedelta(hours=2, seconds=30), "in 2 h"),
        (timedelta(days=-6, hours=-23), "6 d ago"),
    ],
    ids=lambda value: str(value),
)
def test_a_time_of_the_last_or_next_week_is_a_distance_with_the_time_as_its_tooltip(distance, words, monkeypatch):
    now = timezone.now()
    monkeypatch.setattr(formatting, "timezone", SimpleNamespace(now=lambda: now))
    moment = now + distance
    shown = format_datetime(moment)
    assert f">{words}</time>" in shown
    assert f'title="{moment:%Y-%m-%d %H:%M:%S} UTC"' in shown


def test_an_older_time_is_its_day():
    moment = timezone.now() - timedelta(days=8)
    assert f">{moment:%Y-%m-%d}</time>" in format_datetime(moment)
    assert format_datetime(None) is None
