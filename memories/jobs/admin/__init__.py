"""The console's pages of jobs, and the menu of actions of the memories list."""

from memories.jobs.admin import jobs  # noqa: F401
