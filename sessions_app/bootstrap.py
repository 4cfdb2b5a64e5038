"""The first namespace, key and administrator of a new installation."""

import secrets
from dataclasses import dataclass

from django.contrib.auth import get_user_model
from django.db import transaction

from memory_site.core.db.locks import advisory_xact_lock
from sessions_app.models import SCOPES, ApiKey, Namespace

DEFAULT_NAMESPACE = "default"
FIRST_ADMIN = "admin"


@dataclass(frozen=True)
class FirstCredentials:
    """Shown once: an API key of the first namespace and the administrator's password."""

    key: str
    admin_password: str


@transaction.atomic
def create_first_credentials() -> FirstCredentials | None:
    """Create the first namespace, key and administrator. Return None when a key or user exists already.

    Of several machines that start at once, one creates them.
    """
    advisory_xact_lock("first credentials")
    users = get_user_model().objects
    if ApiKey.objects.filter(namespace__name=DEFAULT_NAMESPACE).exists() or users.exists():
        return None
    namespace, _ = Namespace.objects.get_or_create(name=DEFAULT_NAMESPACE)
    _, token = ApiKey.objects.issue(namespace, name="first key", scopes=SCOPES)
    password = secrets.token_urlsafe(12)
    users.create_superuser(FIRST_ADMIN, password=password)
    return FirstCredentials(token, password)
