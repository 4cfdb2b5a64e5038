"""How the cursor of a page is made and read."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID, uuid4

import pytest

from memory_site.core.http.pagination import AFTER, BEFORE, decoded, encoded
from memory_site.core.http.problems import Problem


def cursor(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@pytest.mark.parametrize("direction", [AFTER, BEFORE])
@pytest.mark.parametrize("microsecond", [0, 1, 123456, 999999])
def test_a_cursor_keeps_direction_moment_and_id_exactly(direction, microsecond):
    row = {"created_at": datetime(2026, 3, 1, 12, 30, 15, microsecond, UTC), "id": uuid4()}
    assert decoded(encoded(direction, row)) == (direction, row["created_at"], row["id"])


def test_a_cursor_may_stand_in_an_address_as_it_is():
    for number in range(64):
        text = encoded(AFTER, {"created_at": datetime(2026, 1, 1, tzinfo=UTC), "id": UUID(int=number * 2**121)})
        assert text.replace("-", "").replace("_", "").isalnum()


def test_the_offset_of_a_moment_does_not_matter():
    moment = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5)))
    assert decoded(encoded(AFTER, {"created_at": moment, "id": uuid4()}))[1] == moment


MOMENT, ID = "2026-01-01T00:00:00+00:00", str(UUID(int=1))


@pytest.mark.parametrize(
    "text",
    [
        *("x", "é", "🐈", "=", "====", "a b", "\0", "W10", "e30", "bnVsbA"),
        *map(cursor, ([], {}, None, 1, "after", ["after"], ["after", MOMENT], ["after", MOMENT, ID, 1])),
        *map(cursor, (["sideways", MOMENT, ID], [None, MOMENT, ID], [["after"], MOMENT, ID], [{}, MOMENT, ID])),
        *map(cursor, (["after", "2026-01-01T00:00:00", ID], ["after", "now", ID], ["after", 1, ID])),
        *map(cursor, (["after", MOMENT, "x"], ["after", MOMENT, 1], ["after", MOMENT, None], ["after", MOMENT, []])),
        cursor(["after", MOMENT, ID])[:-3],
        base64.urlsafe_b64encode(b"[" * 50_000).decode(),
        base64.urlsafe_b64encode(b"\xff\xfe").decode(),
    ],
    ids=lambda text: repr(text[:30]),
)
def test_what_is_no_cursor_is_refused(text):
    with pytest.raises(Problem) as caught:
        decoded(text)
    assert caught.value.status == 422
    assert caught.value.errors[0]["field"] == "cursor"
