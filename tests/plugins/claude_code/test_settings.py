"""What the environment decides."""

import pytest
from memory_hooks.settings import read_settings


@pytest.mark.parametrize("end", ["", "/", "/api/v1", "/api/v1/"])
def test_address_may_be_that_of_the_site_or_of_its_api(end):
    assert read_settings({"MEMORY_URL": f"http://host{end}"}).url == "http://host"


@pytest.mark.parametrize("tokens", ["", "abc", "-5", "nan", "1e9"])
def test_odd_settings_are_no_failure(tokens):
    assert 0 < read_settings({"MEMORY_RECALL_TOKENS": tokens}).tokens <= 2000


def test_user_without_a_home_has_settings(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: {}["nobody"])
    assert not read_settings({"MEMORY_KEY": "k"}).folder.exists()
