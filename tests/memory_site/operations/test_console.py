"""What every page of the console has: breadcrumbs after the sidebar, and a text for an empty list."""

import re

import pytest
from django.contrib import admin
from django.urls import reverse

from memories.models import Memory


def read_breadcrumbs(response) -> list[str]:
    [head] = re.findall(r"<h1.*?</h1>", response.content.decode(), re.S)
    texts = map(str.strip, re.sub(r"<[^>]+>", "\n", head).splitlines())
    return [text for text in texts if text not in ("", "chevron_right")]


def test_every_empty_list_says_what_would_be_here():
    admin.autodiscover()
    texts = {model: getattr(options, "empty_text", "") for model, options in admin.site._registry.items()}
    assert len(texts) > 20
    assert [model for model, text in texts.items() if len(text) < 20] == []


def test_an_empty_list_and_one_that_is_filtered_say_different_things(console):
    address = reverse("admin:memories_memory_changelist")
    empty = console.get(address).content.decode()
    assert "Nothing here yet" in empty and "Memories are stored by agents" in empty
    filtered = console.get(address, {"user_id": "ada"}).content.decode()
    assert "Nothing matches" in filtered and "Nothing here yet" not in filtered


def test_breadcrumbs_name_the_sidebar_and_write_names_as_they_are(console, namespace):
    memory = Memory.objects.create(namespace=namespace, content="freya.nordin@acme.example asks", source_system="api")
    listed = console.get(reverse("admin:memories_memory_changelist"))
    assert read_breadcrumbs(listed) == ["Memory", "Memories"]
    page = console.get(reverse("admin:memories_memory_change", args=[memory.pk]))
    assert read_breadcrumbs(page) == ["Memory", "Memories", "freya.nordin@acme.example asks"]
    added = console.get(reverse("admin:memories_memory_add"))
    assert read_breadcrumbs(added) == ["Memory", "Memories", "Add memory"]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/admin/no/such/page/", 404, "There is no such page"),
        ("/admin/auth/user/", 403, "This is not allowed"),
    ],
)
def test_errors_are_pages_of_the_product(client, django_user_model, path, status, words):
    client.force_login(django_user_model.objects.create(username="visitor", is_staff=True))
    response = client.get(path)
    assert response.status_code == status
    assert words in response.content.decode() and "To the console" in response.content.decode()
