"""Tests of the product. Nothing here may be imported by it."""

#: Names the directory for the original of new sites, in a run of the suite.
NEW_SITE_VARIABLE = "TESTS_NEW_SITE_DIRECTORY"
