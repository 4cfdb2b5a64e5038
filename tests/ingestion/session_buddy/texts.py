"""Texts and times that files and insights of the tests share."""

from datetime import UTC, datetime

LONG_AGO = datetime(2024, 5, 1, 12, tzinfo=UTC)
INSIGHT_TEXT = "Connection pools hide dead connections until the pool's own patience is over, so commands go without."
OTHER_TEXT = "Text search ranks by rarity, because a common word says nothing about what a question is after."
