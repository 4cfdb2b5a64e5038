"""Tables that are keyed by an enum have a value for each member."""

from enum import Enum

import pytest
from django.core.exceptions import ImproperlyConfigured

from memory_site.core.enums import complete_table


class Colour(Enum):
    RED = 1
    BLUE = 2


def test_a_complete_table_is_returned():
    table = {Colour.RED: "r", Colour.BLUE: None}
    assert complete_table(Colour, table) == table


def test_a_table_without_a_member_is_refused():
    with pytest.raises(ImproperlyConfigured, match="A table of Colour lacks BLUE"):
        complete_table(Colour, {Colour.RED: "r"})
