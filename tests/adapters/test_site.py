"""The site that the adapters' tests use."""

import urllib.request

from tests.adapters.conftest import Site


def test_a_new_namespace_is_empty(site: Site, new_key) -> None:
    request = urllib.request.Request(f"{site.url}/api/v1/memories", headers={"Authorization": f"Bearer {new_key()}"})
    with urllib.request.urlopen(request) as answer:
        assert answer.read() == b'{"results":[],"next":null,"previous":null}'
