"""Names of namespaces, and giving one another name."""

from django.db import IntegrityError, transaction

from memory_site.core.http.fields import check_storable, check_visible
from sessions_app.models import Namespace

MAX_NAME_LENGTH = 255


class NamespaceProblem(Exception):
    """What was asked for cannot be done; the message is a sentence."""


def check_name(name: str) -> str:
    """Return a name for a namespace that does not exist yet. Raises NamespaceProblem."""
    try:
        check_visible(check_storable(name))
    except ValueError as error:
        raise NamespaceProblem(f"The name {error}.") from None
    if len(name) > MAX_NAME_LENGTH:
        raise NamespaceProblem(f"A name has at most {MAX_NAME_LENGTH} characters.")
    if Namespace.objects.filter(name=name).exists():
        raise NamespaceProblem(f"There is a namespace {name!r} already.")
    return name


def rename_namespace(namespace: Namespace, name: str) -> None:
    """Give a namespace another name. Its keys go on working. Raises NamespaceProblem."""
    check_name(name)
    try:
        with transaction.atomic():
            Namespace.objects.filter(pk=namespace.pk).update(name=name)
    except IntegrityError:  # another process took it a moment ago
        raise NamespaceProblem(f"There is a namespace {name!r} already.") from None
    namespace.name = name
