"""Jobs in words, for the console, the API and the commands."""

from typing import Any

from memories.jobs.actions import ACTIONS
from memories.jobs.actions.base import Action
from memories.jobs.models import Job
from memories.jobs.parameters import parse_parameters
from memories.search.selection import Selection
from memory_site.core.errors import DomainError


def describe_action(action: Action, parameters: Any, count: int | None) -> str:
    """Return a sentence without its end: "Add the tag “a” to 1,234 memories"."""
    number = "memories" if count is None else "1 memory" if count == 1 else f"{count:,} memories"
    return action.describe(parameters, number)


def describe_job(job: Job) -> str:
    """Return what the job does; its action's name, if this release does not know it."""
    action = ACTIONS.get(job.action)
    if action is None:
        return job.action.replace("_", " ")
    try:
        return describe_action(action, parse_parameters(action, job.parameters), job.matched)
    except DomainError:
        return action.title


def describe_selection(selection: Selection) -> str:
    """Return which memories are meant: ticked ones without their ids, which say nothing."""
    if selection.filters.ids is not None:
        return "chosen one by one"
    return selection.describe()
