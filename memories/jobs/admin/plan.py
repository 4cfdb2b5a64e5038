"""What an operator is about to do: an action and a selection, signed, so that a changed form starts nothing."""

from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AbstractBaseUser, AnonymousUser
from django.core import signing
from django.urls import reverse
from django.utils.http import urlencode

from memories.search.selection import Selection

SALT = "memories.jobs.plan"
#: How old a plan may be when it is confirmed.
MAX_AGE_SECONDS = 3600
User = AbstractBaseUser | AnonymousUser


class BadPlan(Exception):
    """The plan is too old, was changed, or is another person's."""


@dataclass(frozen=True)
class Plan:
    """`counts`: how many memories of each namespace the operator was shown; None before."""

    action: str
    selection: Selection
    counts: dict[int, int] | None = field(default=None)

    def sign(self, user: User) -> str:
        counts = None if self.counts is None else list(self.counts.items())
        return signing.dumps([user.pk, self.action, self.selection.dump(), counts], salt=SALT, compress=True)

    @classmethod
    def read(cls, token: str, user: User) -> "Plan":
        """Return the plan of this user. Raises BadPlan."""
        try:
            owner, action, selection, counts = signing.loads(token, salt=SALT, max_age=MAX_AGE_SECONDS)
            if owner != user.pk:
                raise BadPlan
            return cls(action, Selection.load(selection), None if counts is None else dict(map(tuple, counts)))
        except (signing.BadSignature, ValueError, TypeError):
            raise BadPlan from None

    def build_url(self, user: User) -> str:
        """Return the address of the page that shows the plan."""
        return f"{reverse('admin:jobs_job_plan')}?{urlencode({'plan': self.sign(user)})}"


def build_plan_url(user: User, action: str, selection: Selection) -> str:
    return Plan(action, selection).build_url(user)


def is_permitted(user: Any, permission: str) -> bool:
    """Return whether the user may start an action of this permission: it needs that of jobs, too."""
    return user.has_perm("jobs.add_job") and user.has_perm(permission)
