"""`manage.py connect`: what stands in the clients' files, and which keys exist."""

import json
import os
import re
import socket
import stat
import tomllib
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from memory_site.operations.connect import probe
from memory_site.operations.connect.clients import CLIENTS
from memory_site.operations.connect.keys import FoundKey, KeyRequest, issue_key
from sessions_app.models import ApiKey
from tests.memory_client.servers import Answer, running

#: Nothing listens there.
URL = "http://127.0.0.1:9"
TOKEN = re.compile(r"mem_[0-9a-f]{16}_[\w-]{43}")
FILES = {
    "claude-code": ".claude.json",
    "claude-desktop": ".config/Claude/claude_desktop_config.json",
    "cursor": ".cursor/mcp.json",
    "vscode": ".config/Code/User/mcp.json",
    "codex": ".codex/config.toml",
    "windsurf": ".codeium/windsurf/mcp_config.json",
}
KEEP_KEY_IN_FILE = ("claude-desktop", "cursor", "windsurf")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, db):
    """A home of one's own, on Linux whatever runs the tests; the working directory is a project's."""
    monkeypatch.setattr(probe, "CONNECT_SECONDS", 60)
    monkeypatch.setattr(probe, "ANSWER_SECONDS", 60)
    for variable in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME", "MEMORY_KEY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "shop").mkdir()
    monkeypatch.chdir(tmp_path / "shop")
    return tmp_path


@pytest.fixture
def connect(capsys):
    """Run the command; `.out` and `.err` of the answer are what it prints."""

    def run(*words: str):
        capsys.readouterr()
        call_command("connect", *words, *(() if "--url" in words else ("--url", URL)))
        return capsys.readouterr()

    return run


@pytest.fixture
def refused(connect):
    """Return the message with which the command refuses, having made no key."""

    def run(*words: str) -> str:
        before = count_keys()
        with pytest.raises(CommandError) as error:
            connect(*words)
        assert count_keys() == before
        return str(error.value)

    return run


def count_keys() -> int:
    return ApiKey.objects.usable().count()


def read_entry(client: str, path: Path, name: str = "memory") -> dict:
    text = path.read_text()
    document = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    return document[CLIENTS[client].parent][name]


def get_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def list_files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_entries_are_what_the_clients_expect(connect, home, settings):
    tokens = {client: TOKEN.search(connect(client).out) for client in FILES}
    entries = {client: read_entry(client, home / FILES[client]) for client in FILES}
    held = {client: TOKEN.search(json.dumps(entries[client])) for client in FILES}
    assert [client for client in FILES if held[client]] == list(KEEP_KEY_IN_FILE)
    assert [client for client in FILES if tokens[client]] == ["claude-code", "vscode"]
    headers = {client: {"Authorization": f"Bearer {held[client][0]}"} for client in ("cursor", "windsurf")}
    reference = {"Authorization": "Bearer ${MEMORY_KEY}"}
    prompt = {"Authorization": "Bearer ${input:memory-key}"}
    assert entries["claude-code"] == {"type": "http", "url": f"{URL}/mcp", "headers": reference}
    assert entries["cursor"] == {"url": f"{URL}/mcp", "headers": headers["cursor"]}
    assert entries["windsurf"] == {"serverUrl": f"{URL}/mcp", "headers": headers["windsurf"]}
    assert entries["vscode"] == {"type": "http", "url": f"{URL}/mcp", "headers": prompt}
    assert entries["codex"] == {"url": f"{URL}/mcp", "bearer_token_env_var": "MEMORY_KEY"}
    program = entries["claude-desktop"]
    assert program["args"] == [str(settings.BASE_DIR / "manage.py"), "mcp"]
    assert os.access(program["command"], os.X_OK)
    assert program["env"] == {"MEMORY_URL": URL, "MEMORY_KEY": held["claude-desktop"][0]}
    [asked] = json.loads((home / FILES["vscode"]).read_text())["inputs"]
    assert (asked["id"], asked["type"], asked["password"]) == ("memory-key", "promptString", True)
    names = sorted(ApiKey.objects.values_list("name", "namespace__name"))
    endings = {"claude-code": ", in MEMORY_KEY"}  # which is Codex's too
    assert names == sorted(
        (f"{client} on {socket.gethostname()}{endings.get(client, '')}", "default")
        for client in FILES
        if client != "codex"
    )


@pytest.mark.parametrize("client", FILES)
def test_second_run_changes_nothing_and_makes_no_key(client, connect, home):
    connect(client)
    files, keys = list_files(home), count_keys()
    answer = connect(client)
    assert (list_files(home), count_keys(), answer.out) == (files, keys, "")
    assert "is as it should be" in answer.err


@pytest.mark.parametrize("client", FILES)
def test_user_project_and_scopes_reach_the_entry(client, connect, home):
    connect(client, "--user", "ada/b", "--project", "shop", "--scopes", "read", "--namespace", "team")
    text = json.dumps(read_entry(client, home / FILES[client]))
    assert "ada/b" in text if client == "claude-desktop" else f"{URL}/mcp/users/ada%2Fb" in text
    assert '"MEMORY_PROJECT": "shop"' in text or '"X-Memory-Project": "shop"' in text
    key = ApiKey.objects.get()
    assert (key.scopes, key.namespace.name, key.created_by) == (["read"], "team", "command:connect")


@pytest.mark.parametrize("client", ["claude-code", "cursor", "vscode", "codex"])
def test_file_of_a_project_holds_no_key(client, connect, home):
    connect(client, "--scope", "project")
    path = home / "shop" / (CLIENTS[client].project_file or "")
    assert read_entry(client, path)
    assert not TOKEN.search(path.read_text())
    assert get_mode(path) == 0o666 & ~get_umask()


def get_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("client", ["claude-desktop", "windsurf"])
def test_clients_without_projects_say_so(client, refused):
    assert "no file for a project" in refused(client, "--scope", "project")


def test_others_entries_fields_and_comments_stay_and_a_copy_is_made(connect, home):
    path = home / FILES["cursor"]
    path.parent.mkdir()
    others = '"files": {"command": "npx", "env": {"K": "Bearer abc"}}'
    before = f'{{\n  // mine\n  "mcpServers": {{{others}}},\n  "theme": 1.0,\n}}'
    path.write_text(before)
    path.chmod(0o640)
    connect("cursor")
    text = path.read_text()
    assert others in text
    assert "// mine" in text
    assert '"theme": 1.0,\n}' in text
    [backup] = path.parent.glob("mcp.json.*.bak")
    assert re.fullmatch(r"mcp\.json\.\d{8}T\d+Z\.bak", backup.name)
    assert (backup.read_text(), get_mode(backup), get_mode(path)) == (before, 0o600, 0o600)


def test_file_that_gets_no_key_keeps_its_mode(connect, home):
    path = home / FILES["codex"]
    path.parent.mkdir()
    path.write_text("# Mine.\nmodel = 'o3'\n")
    path.chmod(0o640)
    connect("codex")
    assert path.read_text().startswith("# Mine.\nmodel = 'o3'\n")
    assert get_mode(path) == 0o640


def test_file_with_a_key_that_others_may_read_is_closed(connect, home):
    connect("cursor")
    (home / FILES["cursor"]).chmod(0o644)
    assert "only you can read it now" in connect("cursor").err
    assert get_mode(home / FILES["cursor"]) == 0o600


def test_fields_that_the_user_added_to_our_entry_stay(connect, home):
    connect("windsurf")
    path = home / FILES["windsurf"]
    document = json.loads(path.read_text())
    document["mcpServers"]["memory"] |= {"disabled": True, "alwaysAllow": ["recall"]}
    document["mcpServers"]["memory"]["headers"]["X-Mine"] = "1"
    path.write_text(json.dumps(document))
    connect("windsurf", "--project", "shop", "--url", "http://127.0.0.1:7")
    entry = read_entry("windsurf", path)
    assert (entry["disabled"], entry["alwaysAllow"]) == (True, ["recall"])
    assert entry["serverUrl"] == "http://127.0.0.1:7/mcp"
    assert entry["headers"].keys() == {"Authorization", "X-Mine", "X-Memory-Project"}
    connect("windsurf")
    assert read_entry("windsurf", path)["headers"].keys() == {"Authorization", "X-Mine"}


def test_revoked_key_is_replaced(connect, home):
    connect("cursor")
    first = ApiKey.objects.get()
    first.revoke()
    connect("cursor")
    [key] = ApiKey.objects.usable()
    assert TOKEN.search((home / FILES["cursor"]).read_text())[0].startswith(str(key)[:-1])
    connect("codex")
    ApiKey.objects.usable().get(name__startswith="codex").revoke()
    assert TOKEN.search(connect("codex").out)


def test_other_scopes_or_namespace_take_another_key_and_end_the_first(connect):
    connect("cursor")
    connect("cursor", "--scopes", "read")
    connect("cursor", "--scopes", "read", "--namespace", "team")
    [key] = ApiKey.objects.usable()
    assert (key.scopes, key.namespace.name) == (["read"], "team")


def test_new_key_ends_the_earlier_one(connect):
    first = TOKEN.search(connect("codex").out)[0]
    second = TOKEN.search(connect("codex", "--new-key").out)[0]
    [key] = ApiKey.objects.usable()
    assert first != second
    assert second.startswith(str(key)[:-1])


def test_key_of_the_environment_is_used(connect, home, monkeypatch):
    token = TOKEN.search(connect("claude-code").out)[0]
    monkeypatch.setenv("MEMORY_KEY", token)
    answer = connect("codex")
    assert (answer.out, count_keys()) == ("", 1)
    assert read_entry("codex", home / FILES["codex"])["bearer_token_env_var"] == "MEMORY_KEY"


def test_clients_that_read_one_variable_have_one_key(connect, monkeypatch):
    token = TOKEN.search(connect("claude-code").out)[0]
    answer = connect("codex")
    assert (answer.out, count_keys()) == ("", 1)
    assert "Codex reads MEMORY_KEY too: the line that was printed for this key serves both." in answer.err
    assert "Not tried: set MEMORY_KEY and repeat the command." in answer.err
    assert connect("claude-code", "--scope", "project").out == ""
    monkeypatch.setenv("MEMORY_KEY", token)
    assert "serves both" not in connect("codex").err


def test_key_of_another_variable_machine_or_client_is_not_shared(connect):
    tokens = {TOKEN.search(connect("codex", "--variable", variable).out)[0] for variable in ("A_KEY", "B_A_KEY")}
    host = socket.gethostname()
    for name in (f"codex on {host}-2, in MEMORY_KEY", f"codex on {host}", f"codex on {host}, in MEMORY_KEYS"):
        ApiKey.objects.issue(ApiKey.objects.first().namespace, name=name)
    assert TOKEN.search(connect("claude-code").out)[0] not in tokens
    assert count_keys() == 6


def test_new_key_ends_the_one_that_clients_share(connect):
    connect("claude-code")
    assert "Would revoke the key" in connect("codex", "--new-key", "--dry-run").err
    token = TOKEN.search(connect("codex", "--new-key").out)[0]
    [key] = ApiKey.objects.usable()
    assert token.startswith(str(key)[:-1])
    assert str(key) in connect("claude-code").err


def test_two_keys_of_one_variable_are_said(connect, monkeypatch):
    token = TOKEN.search(connect("claude-code").out)[0]
    answer = connect("codex", "--namespace", "team")
    said = (
        r"MEMORY_KEY holds one key\. Of 'default' there is mem_\w+… \(claude-code on [^)]+\): to keep it, give this .*"
    )
    assert TOKEN.search(answer.out) and re.search(said + "with --variable", answer.err)
    assert "holds one key" in connect("codex", "--namespace", "third", "--dry-run").err
    assert "holds one key" not in connect("codex", "--namespace", "team", "--variable", "TEAM_KEY").err
    monkeypatch.setenv("MEMORY_KEY", token)
    ApiKey.objects.update(name="made by hand")
    assert "holds one key" in connect("codex", "--scopes", "read").err


def test_removal_says_that_others_lose_the_key(connect):
    connect("claude-code")
    connect("codex")
    assert "Other clients that read MEMORY_KEY need" not in connect("codex", "--remove").err
    assert count_keys() == 1
    assert "Other clients that read MEMORY_KEY need another key." in connect("claude-code", "--remove").err


def test_key_can_be_put_into_the_file_or_another_variable(connect, home):
    connect("codex", "--key", "file")
    token = read_entry("codex", home / FILES["codex"])["http_headers"]["Authorization"].removeprefix("Bearer ")
    assert TOKEN.fullmatch(token)
    assert get_mode(home / FILES["codex"]) == 0o600
    answer = connect("codex", "--key", "environment", "--variable", "CODEX_MEMORY")
    assert (answer.out, count_keys()) == (f"export CODEX_MEMORY={token}\n", 1)
    assert read_entry("codex", home / FILES["codex"]) == {
        "url": f"{URL}/mcp",
        "bearer_token_env_var": "CODEX_MEMORY",
    }


@pytest.mark.parametrize("client", FILES)
def test_dry_run_shows_a_diff_without_a_key_and_changes_nothing(client, connect, home):
    before = list_files(home)
    answer = connect(client, "--dry-run")
    assert f"{URL}" in answer.out
    assert (list_files(home), count_keys()) == (before, 0)
    connect(client)
    assert connect(client, "--dry-run").out == "Nothing would change.\n"
    assert not TOKEN.search(connect(client, "--dry-run", "--project", "shop").out)


def test_dry_run_says_which_keys_would_be_made_and_revoked(connect):
    said = connect("vscode", "--dry-run", "--namespace", "team").err
    assert said.startswith("Would make a key (vscode on ")
    assert said.endswith(" of 'team', and that namespace, which is new.\n")
    connect("vscode")
    assert connect("vscode", "--dry-run").err == ""
    preview = connect("vscode", "--dry-run", "--new-key")
    assert preview.out == "The file would not change.\n"
    assert re.search(r"\nWould revoke the key mem_[0-9a-f]{16}_… \(vscode on [^)]+\)\.\n$", preview.err)
    assert ApiKey.objects.count() == 1


def test_dry_run_shows_no_secret_of_others(connect, home):
    path = home / FILES["cursor"]
    path.parent.mkdir()
    path.write_text('{"mcpServers": {"other": {"url": "x", "headers": {"Authorization": "Bearer sesame"}}}}')
    assert "sesame" not in connect("cursor", "--dry-run").out


@pytest.mark.parametrize("client", FILES)
def test_print_writes_nothing(client, connect, home):
    before = list_files(home)
    out = connect(client, "--print").out
    assert list_files(home) == before
    assert TOKEN.search(out)
    assert "shown" not in out
    assert connect(client, "--print").out.count(URL) == out.count(URL)
    assert count_keys() == 1


@pytest.mark.parametrize("client", FILES)
def test_remove_takes_the_entry_and_revokes_the_key(client, connect, home):
    path = home / FILES[client]
    path.parent.mkdir(parents=True, exist_ok=True)
    others = "[mcp_servers.a]\nurl = 'b'\n" if client == "codex" else json.dumps({CLIENTS[client].parent: {"a": {}}})
    path.write_text(others)
    connect(client)
    connect(client, "--remove")
    assert count_keys() == 0
    with pytest.raises(KeyError):
        read_entry(client, path)
    assert read_entry(client, path, "a") is not None
    assert "has no server" in connect(client, "--remove").err


@pytest.mark.parametrize("client", FILES)
def test_dry_run_of_remove_shows_what_would_go_and_changes_nothing(client, connect, home):
    connect(client)
    before = list_files(home)
    answer = connect(client, "--remove", "--dry-run")
    assert (list_files(home), count_keys()) == (before, 1)
    assert "+++" in answer.out and URL in answer.out
    assert not TOKEN.search(answer.out + answer.err)
    assert re.fullmatch(rf"Would revoke the key mem_[0-9a-f]{{16}}_… \({client} on [^)]+\)\.\n", answer.err)
    connect(client, "--remove")
    assert connect(client, "--remove", "--dry-run").out == "Nothing would change.\n"


INPUT = {"type": "promptString", "id": "other", "description": "other", "password": True}


OTHER_INPUTS = {"none": None, "empty": [], "one": [INPUT], "two": [INPUT, INPUT | {"id": "third"}]}


@pytest.mark.parametrize("inputs", OTHER_INPUTS.values(), ids=OTHER_INPUTS)
def test_remove_takes_the_question_for_the_key(inputs, connect, home):
    path = home / FILES["vscode"]
    path.parent.mkdir(parents=True)
    before = {"servers": {"a": {}}} | ({} if inputs is None else {"inputs": inputs})
    path.write_text(json.dumps(before, indent=2))
    connect("vscode")
    connect("vscode", "--remove")
    assert json.loads(path.read_text()) == {name: value for name, value in before.items() if value != []}


def test_remove_leaves_a_question_that_others_ask_or_the_user_wrote(connect, home):
    path = home / FILES["vscode"]
    connect("vscode")
    document = json.loads(path.read_text())
    document["servers"]["other"] = {"url": "x", "headers": {"Authorization": "Bearer ${input:memory-key}"}}
    path.write_text(json.dumps(document))
    connect("vscode", "--remove")
    assert json.loads(path.read_text())["inputs"] == document["inputs"]
    path.write_text(json.dumps({"inputs": [INPUT | {"id": "memory-key"}]}))
    connect("vscode")
    connect("vscode", "--remove")
    assert json.loads(path.read_text())["inputs"] == [INPUT | {"id": "memory-key"}]


KEY = {"namespace": {"id": 1, "name": "team"}, "scopes": ["read"]}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(body=KEY), "The key opens the namespace 'team' and may read."),
        (Answer(404), "The site does not say what the key may do."),
    ],
    ids=["key", "404"],
)
def test_what_the_key_may_do_is_said(answer, expected, connect):
    with running(lambda request: answer if request.method == "GET" else answer_mcp(request)) as server:
        assert expected in connect("cursor", "--url", server.url).err
        assert {request.path for request in server.requests} == {"/mcp", "/api/v1/key"}


@pytest.mark.parametrize("answer", [Answer(401, KEY | {"namespace": None}), Answer(body="{}"), Answer(200, "<html>")])
def test_site_that_does_not_know_the_key_is_an_error(answer, connect):
    with (
        running(lambda request: answer if request.method == "GET" else answer_mcp(request)) as server,
        pytest.raises(CommandError, match="the client will not work"),
    ):
        connect("cursor", "--url", server.url)


def answer_mcp(request) -> Answer:
    result = {"tools": [{"name": "recall"}], "serverInfo": {"name": "s", "version": "1"}}
    return Answer(body={"jsonrpc": "2.0", "id": 1, "result": result})


def test_server_of_someone_else_is_not_overwritten(connect, refused, home):
    path = home / FILES["cursor"]
    path.parent.mkdir()
    text = '{"mcpServers": {"memory": {"command": "npx", "args": ["-y", "@modelcontextprotocol/server-memory"]}}}'
    path.write_text(text)
    assert "another server of the name 'memory'; choose one with --name" in refused("cursor")
    assert "another server" in refused("cursor", "--remove")
    connect("cursor", "--name", "team")
    assert read_entry("cursor", path, "team")["url"] == f"{URL}/mcp"
    assert read_entry("cursor", path)["command"] == "npx"


BROKEN = {
    "claude-code": ('{"a": 1,}', "line 1, column 8"),
    "cursor": ('{\n "mcpServers": {]\n}', "line 2, column 17"),
    "codex": ("a = \n", "line 1, column 5"),
    "windsurf": ('{"mcpServers": []}', "does not hold servers by name"),
    "vscode": ('{"servers": {}, "inputs": {}}', "inputs is not an array"),
    "claude-desktop": (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
}


@pytest.mark.parametrize("client", BROKEN)
def test_broken_file_is_refused_and_stays(client, refused, home):
    path = home / FILES[client]
    path.parent.mkdir(parents=True, exist_ok=True)
    text, message = BROKEN[client]
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    before = path.read_bytes()
    sentence = refused(client)
    assert message in sentence
    assert f"{path}: " in sentence
    assert sentence.endswith("Nothing was changed.")
    assert (path.read_bytes(), list(path.parent.glob("*.bak"))) == (before, [])


def test_broken_entry_of_ours_is_refused_and_stays(refused, home):
    path = home / ".cursor/mcp.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text := json.dumps({"mcpServers": {"memory": {"url": f"{URL}/mcp", "headers": [1]}}}))
    assert "headers of the entry does not hold values by name" in refused("cursor")
    assert path.read_text() == text


def test_links_are_followed(connect, home):
    (home / "dotfiles").mkdir()
    (home / ".cursor").mkdir()
    (home / FILES["cursor"]).symlink_to(home / "dotfiles" / "mcp.json")
    connect("cursor")
    assert (home / FILES["cursor"]).is_symlink()
    assert read_entry("cursor", home / "dotfiles" / "mcp.json")
    connect("cursor", "--project", "shop")
    assert len(list((home / "dotfiles").glob("*.bak"))) == 1


def test_places_that_cannot_be_written_are_named(refused, home):
    (home / "loop").symlink_to(home / "loop")
    assert "cannot be read" in refused("cursor", "--config", str(home / "loop"))
    assert "is not a file" in refused("cursor", "--config", str(home))
    assert "cannot be written" in refused("cursor", "--config", "/proc/memory/mcp.json")
    (home / "file").write_text("")
    assert str(home / "file") in refused("cursor", "--config", str(home / "file" / "mcp.json"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_missing_permission_is_said(refused, home):
    (home / ".cursor").mkdir(mode=0o500)
    assert "no permission to write in" in refused("cursor")


def test_file_that_changed_in_the_meantime_is_not_overwritten(refused, home, monkeypatch):
    path = home / FILES["cursor"]

    def change(request: KeyRequest) -> FoundKey:
        path.parent.mkdir()
        path.write_text('{"mine": 1}')
        return issue_key(request)

    monkeypatch.setattr("memory_site.operations.connect.connection.issue_key", change)
    assert "another program" in refused("cursor")
    assert path.read_text() == '{"mine": 1}'


WRONG = {
    "url": (("cursor", "--url", "127.0.0.1:8000"), "--url must be"),
    "url-with-password": (("cursor", "--url", "http://a:b@c"), "--url must be"),
    "name": (("cursor", "--name", "a b"), "--name may have"),
    "variable": (("codex", "--variable", "A B"), "--variable must be"),
    "user": (("cursor", "--user", " "), "--user must be"),
    "user-of-no-address": (("cursor", "--user", ".."), "--user cannot be used in an address"),
    "project": (("cursor", "--project", "a\nb"), "--project must be"),
    "place": (("claude-desktop", "--key", "environment"), "--key may be: file"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_options_are_refused(case, refused):
    words, message = WRONG[case]
    assert message in refused(*words)


def test_list_says_whose_key_works(connect, home):
    for client in ("claude-code", "cursor", "codex", "claude-desktop"):
        connect(client)
    ApiKey.objects.get(name__startswith="claude-desktop").revoke()
    (home / ".codeium/windsurf").mkdir(parents=True)
    (home / FILES["windsurf"]).write_text("{")
    rows = {row["client"]: row for row in json.loads(connect("--list", "--format", "json").out)}
    assert {client: row["state"] for client, row in rows.items()} == {
        "claude-code": "works; not in the file",
        "claude-desktop": "revoked, expired or of another site",
        "cursor": "works",
        "codex": "works; not in the file",
        "windsurf": "cannot be read: line 1, column 2: expected a name in double quotes",
    }
    assert rows["cursor"]["url"] == f"{URL}/mcp"
    assert rows["claude-desktop"]["url"] == URL
    assert rows["cursor"]["last_used"] is None
    assert not TOKEN.search(json.dumps(rows))


def test_site_that_is_away_is_no_failure(connect):
    assert "does not answer" in connect("cursor").err


def test_site_that_is_late_is_not_called_away(connect, monkeypatch):
    monkeypatch.setattr(probe, "ANSWER_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        said = connect("cursor", "--url", f"http://127.0.0.1:{silent.getsockname()[1]}").err
    assert "did not answer within 0.05 seconds" in said and "start it" not in said


def test_folders_of_other_systems(connect, home, monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    connect("claude-desktop")
    assert (home / "Library/Application Support/Claude/claude_desktop_config.json").exists()
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("APPDATA", str(home / "Roaming"))
    connect("vscode")
    assert (home / "Roaming/Code/User/mcp.json").exists()
    monkeypatch.setenv("CODEX_HOME", str(home / "c"))
    connect("codex")
    assert (home / "c/config.toml").exists()
