"""What the lists of the console show."""

from django.contrib.auth import get_user
from django.contrib.auth.models import Permission, User
from django.contrib.messages.storage.fallback import FallbackStorage
from django.test import RequestFactory
from django.test.client import Client
from django.urls import resolve


def render_rows(client: Client, path: str, **parameters: object) -> list:
    """The rows of a list whose page was drawn: as its operator gets it, with every statement that takes."""
    response = client.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return list(response.context["cl"].result_list)


def query_rows(client: Client, path: str, **parameters: object) -> list:
    """The same rows as the view finds them for its operator. Drawing the page takes ten times as long."""
    return list(query_context(client, path, **parameters)["cl"].result_list)


def query_context(client: Client, path: str, **parameters: object) -> dict:
    """What a page would be drawn of. The path may have a query string."""
    request = RequestFactory().get(path, parameters) if parameters else RequestFactory().get(path)
    request.resolver_match, request.session = resolve(request.path_info), client.session
    request.user, request._messages = get_user(request), FallbackStorage(request)
    match = request.resolver_match
    response = match.func(request, *match.args, **match.kwargs)
    assert response.status_code == 200, response.status_code
    return response.context_data


def fetch_page_text(client: Client, path: str, **parameters: object) -> str:
    response = client.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return response.content.decode()


def fetch_form_errors(response) -> str:
    """Return the errors of a form that was not saved."""
    assert response.status_code == 200, (response.status_code, response.content[:300])
    assert response.context["adminform"].form.errors
    return str(response.context["adminform"].form.errors)


def assert_saved(response) -> None:
    assert response.status_code == 302, response.context["adminform"].form.errors


def create_staff_user(client: Client, django_user_model: type[User], *permissions: str) -> Client:
    """Return the client, logged in as a staff user with these permissions only."""
    user = django_user_model.objects.create(username="staff", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client.force_login(user)
    return client
