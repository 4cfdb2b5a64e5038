"""What a tool is, and one call of it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel

from memory_site.mcp_server.answers import Answer
from memory_site.mcp_server.arguments import Arguments
from memory_site.mcp_server.operations import Operations
from memory_site.mcp_server.subject import Subject
from sessions_app.auth import ApiRequest
from sessions_app.models import READ, WRITE


class Call:
    """A call of a tool: the API as its caller sees it, and whose memories are meant."""

    def __init__(self, request: ApiRequest, subject: Subject) -> None:
        self.api, self.subject, self.caller = Operations(request), subject, request.auth

    def has_scopes(self, *scopes: str) -> bool:
        return all(self.caller.has_scope(scope) for scope in scopes)


Run = Callable[[Call, Any], Answer]


@dataclass(frozen=True, eq=False)
class Tool:
    """A function of a call and its arguments. Its docstring is what the model reads, its first sentence when to use it.

    `reads`: its answer may hold what others have stored. `is_pinnable`: it keeps to one user; other tools are left out
    where the user is pinned.
    """

    run: Run
    title: str
    arguments: type[Arguments]
    answer: type[BaseModel]
    reads: bool = True
    writes: bool = False
    destroys: bool = False
    is_pinnable: bool = True

    @property
    def name(self) -> str:
        return self.run.__name__

    @cached_property
    def description(self) -> str:
        return " ".join((inspect.getdoc(self.run) or "").split())

    @property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that a key needs for it, by the API's rule."""
        return (READ,) * self.reads + (WRITE,) * self.writes

    def is_offered(self, call: Call) -> bool:
        """Tell whether the caller may use it: by the scopes of the key, and by the address."""
        return call.has_scopes(*self.scopes) and (self.is_pinnable or not call.subject.pinned)


def tool(title: str, arguments: type[Arguments], answer: type[BaseModel], **traits: bool) -> Callable[[Run], Tool]:
    """Return a decorator that makes a tool of a function."""
    return lambda run: Tool(run, title, arguments, answer, **traits)


Toolbox = dict[str, Tool]


def build_toolbox(*tools: Tool) -> Toolbox:
    """Return tools by name, in the order in which they are listed."""
    return {each.name: each for each in tools}
