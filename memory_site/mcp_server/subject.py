"""Whose memories a request means: by the address, or by headers where a call names none."""

from dataclasses import dataclass

from django.http import HttpRequest
from pydantic import TypeAdapter, ValidationError

from memory_site.core.http.field_errors import clarify_message
from memory_site.core.http.fields import Label
from memory_site.core.http.path_labels import RepoId, UserId
from memory_site.core.http.problems import invalid_field

USER_HEADER, PROJECT_HEADER, SESSION_HEADER = "X-Memory-User", "X-Memory-Project", "X-Memory-Session"
LABELS: dict[str, TypeAdapter[str]] = {
    "user": TypeAdapter(UserId),
    USER_HEADER: TypeAdapter(UserId),
    PROJECT_HEADER: TypeAdapter(RepoId),
    SESSION_HEADER: TypeAdapter(Label),
}
#: As an argument: every user or project, in spite of a header.
EVERY = "*"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a call means that names no user, project or session. `pinned`: the user cannot be another one."""

    user: str | None = None
    project: str | None = None
    session: str | None = None
    pinned: bool = False

    def pick_user(self, given: str | None) -> str | None:
        """Return the user of a call, None for every user."""
        return self.user if self.pinned else pick(given, self.user)

    def pick_project(self, given: str | None) -> str | None:
        return pick(given, self.project)

    def may_see(self, memory: dict) -> bool:
        """Tell whether a memory of the namespace may be seen and changed here."""
        return not self.pinned or memory["user_id"] == self.user


def pick(given: str | None, default: str | None) -> str | None:
    return None if given == EVERY else given or default


def read_subject(request: HttpRequest, user: str | None) -> Subject:
    """Return the subject of a request to the address of this user, if any. Raises Problem 422."""
    pinned = user is not None
    return Subject(
        user=check_label("user", user.removesuffix("/")) if user is not None else read_header(request, USER_HEADER),
        project=read_header(request, PROJECT_HEADER),
        session=read_header(request, SESSION_HEADER),
        pinned=pinned,
    )


def read_header(request: HttpRequest, name: str) -> str | None:
    """Return a header, which WSGI passes as characters of Latin-1; None if it is absent or empty."""
    text = request.headers.get(name, "")
    try:
        text = text.encode("latin-1").decode()
    except UnicodeError:
        raise invalid_field(name, "is not UTF-8") from None
    return check_label(name, text) if text else None


def check_label(name: str, text: str) -> str:
    try:
        return LABELS[name].validate_python(text)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise invalid_field(name, clarify_message(message)) from None
