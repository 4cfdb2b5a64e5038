"""The console's pages of the search bench."""

from memories.bench.admin.pages import TestSearchAdmin as TestSearchAdmin
