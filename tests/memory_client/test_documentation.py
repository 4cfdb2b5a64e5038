"""The examples of the client's pages run as they stand."""

import re

import pytest
from django.conf import settings

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = {"docs/agents/client.md": 7, "memory_client/README.md": 1}


@pytest.mark.parametrize("page", PAGES)
def test_examples_run(page, live_server, key, capsys):
    blocks = BLOCK.findall((settings.BASE_DIR / page).read_text())
    assert len(blocks) >= PAGES[page]
    names: dict[str, object] = {"__name__": "example"}
    for block in blocks:
        code = block.replace("http://127.0.0.1:8000", live_server.url).replace("mem_…", key)
        exec(compile(code, page, "exec"), names)  # as one program, block after block
    if client := names.get("client"):
        client.close()
    assert "bullet points" in capsys.readouterr().out
