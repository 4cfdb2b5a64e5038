"""What the lists of the console show."""

from django.contrib.auth import get_user
from django.contrib.messages.storage.fallback import FallbackStorage
from django.test import RequestFactory
from django.test.client import Client
from django.urls import resolve


def rows_drawn(client: Client, path: str, **parameters: object) -> list:
    """The rows of a list whose page was drawn: as its operator gets it, with every statement that takes."""
    response = client.get(path, parameters)
    assert response.status_code == 200, (response.status_code, response.content[:300])
    return list(response.context["cl"].result_list)


def rows_listed(client: Client, path: str, **parameters: object) -> list:
    """The same rows as the view finds them for its operator. Drawing the page takes ten times as long."""
    request = RequestFactory().get(path, parameters)
    request.resolver_match, request.session = resolve(request.path_info), client.session
    request.user, request._messages = get_user(request), FallbackStorage(request)
    response = request.resolver_match.func(request)
    assert response.status_code == 200, response.status_code
    return list(response.context_data["cl"].result_list)
