"""The first namespace, key and administrator of a new installation."""

import secrets
from dataclasses import dataclass

from django.contrib.auth import get_user_model

from sessions_app.models import SCOPES, ApiKey, Namespace

DEFAULT_NAMESPACE = "default"
FIRST_ADMIN = "admin"


@dataclass(frozen=True)
class FirstCredentials:
    """What is shown once: an API key of the first namespace and the administrator's password."""

    key: str
    admin_password: str


def create_first_credentials() -> FirstCredentials | None:
    """Make what a new installation lacks to be used. None when somebody has it already."""
    User = get_user_model()
    if ApiKey.objects.filter(namespace__name=DEFAULT_NAMESPACE).exists() or User.objects.exists():
        return None
    namespace, _ = Namespace.objects.get_or_create(name=DEFAULT_NAMESPACE)
    _, token = ApiKey.objects.issue(namespace, name="first key", scopes=SCOPES)
    password = secrets.token_urlsafe(12)
    User.objects.create_superuser(FIRST_ADMIN, password=password)
    return FirstCredentials(token, password)
