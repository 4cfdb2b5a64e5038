"""Cursors of pages."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest

from memory_site.core.http.pagination import AFTER, BEFORE, decode_cursor, encode_cursor
from memory_site.core.http.problems import Problem


def encode_raw_cursor(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("direction", [AFTER, BEFORE])
@pytest.mark.parametrize("microsecond", [0, 1, 123456, 999999])
def test_a_cursor_keeps_direction_moment_and_id_exactly(direction, microsecond):
    row = {"created_at": datetime(2026, 3, 1, 12, 30, 15, microsecond, UTC), "id": uuid4()}
    assert decode_cursor(encode_cursor(direction, row)) == (direction, (row["created_at"], row["id"]))


def test_cursor_needs_no_url_encoding():
    for number in range(64):
        text = encode_cursor(AFTER, {"created_at": datetime(2026, 1, 1, tzinfo=UTC), "id": UUID(int=number * 2**121)})
        assert text.replace("-", "").replace("_", "").isalnum()


def test_time_offset_does_not_matter():
    moment = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    assert decode_cursor(encode_cursor(AFTER, {"created_at": moment, "id": uuid4()}))[1][0] == moment


SAMPLE_TIME, SAMPLE_ID = "2026-01-01T00:00:00+00:00", str(UUID(int=1))


@pytest.mark.parametrize(
    "text",
    [
        *("x", "é", "🐈", "=", "====", "a b", "\0", "W10", "e30", "bnVsbA"),
        *map(
            encode_raw_cursor,
            ([], {}, None, 1, "after", ["after"], ["after", SAMPLE_TIME], ["after", SAMPLE_TIME, SAMPLE_ID, 1]),
        ),
        *map(
            encode_raw_cursor,
            (
                ["sideways", SAMPLE_TIME, SAMPLE_ID],
                [None, SAMPLE_TIME, SAMPLE_ID],
                [["after"], SAMPLE_TIME, SAMPLE_ID],
                [{}, SAMPLE_TIME, SAMPLE_ID],
            ),
        ),
        *map(
            encode_raw_cursor,
            (["after", "2026-01-01T00:00:00", SAMPLE_ID], ["after", "now", SAMPLE_ID], ["after", 1, SAMPLE_ID]),
        ),
        *map(
            encode_raw_cursor,
            (
                ["after", SAMPLE_TIME, "x"],
                ["after", SAMPLE_TIME, 1],
                ["after", SAMPLE_TIME, None],
                ["after", SAMPLE_TIME, []],
            ),
        ),
        encode_raw_cursor(["after", SAMPLE_TIME, SAMPLE_ID])[:-3],
        base64.urlsafe_b64encode(b"[" * 50_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
    ids=lambda text: repr(text[:30]),
)
def test_invalid_cursor_is_refused(text):
    with pytest.raises(Problem) as caught:
        decode_cursor(text)
    assert caught.value.status == 422
    assert caught.value.errors[0]["field"] == "cursor"
