"""The actions of jobs, by name. An app above this one registers its own when it is ready."""

from memories.jobs.actions.base import Action
from memories.jobs.actions.delete import Delete
from memories.jobs.actions.expire import Expire
from memories.jobs.actions.importance import SetImportance
from memories.jobs.actions.memory_type import SetType
from memories.jobs.actions.move import Move
from memories.jobs.actions.reembed import Reembed
from memories.jobs.actions.tag import Tag, Untag
from memories.jobs.actions.undo import Undo
from memories.jobs.actions.user import SetUser
from memory_site.core.errors import InvalidField

#: In the order of the console's menu.
ACTIONS: dict[str, Action] = {
    action.name: action
    for action in (Tag(), Untag(), SetImportance(), Expire(), SetType(), SetUser(), Move(), Reembed(), Undo(), Delete())
}


def register(action: Action) -> None:
    """Add an action in front of the last one, which deletes."""
    last = ACTIONS.pop(Delete.name)
    ACTIONS[action.name] = action
    ACTIONS[Delete.name] = last


def get_action(name: str) -> Action:
    """Return the action. Raises InvalidField when there is none of this name."""
    if name not in ACTIONS:
        raise InvalidField("action", f"must be one of {', '.join(sorted(ACTIONS))}")
    return ACTIONS[name]
