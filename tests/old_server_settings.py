"""The settings of a release that needs a PostgreSQL newer than any."""

from memory_site.settings import *  # noqa: F403

MIN_POSTGRESQL_VERSION = (99,)
