"""Discovery and reading of files: which are found, and why others are refused."""

import os
import shutil
from pathlib import Path

import pytest

from ingestion.file_discovery import (
    MAX_FILE_BYTES,
    NOT_CHECKED_OUT,
    OTHER_CHECKOUT,
    NotIngestible,
    SourceFile,
    decode_text,
    find_files,
    is_checkout,
    read_file,
)
from tests.ingestion.folders import LIST_SCRIPT, create_checkout, run_git, run_unprivileged, unlistable, write_files

WITH_AND_WITHOUT_GIT = pytest.mark.parametrize("make", [create_checkout, write_files], ids=["with git", "without git"])


def list_paths(root: Path, *suffixes: str) -> list[str]:
    return [file.path for file in (find_files(root, suffixes) if suffixes else find_files(root))]


def read_path(root: Path, path: str) -> bytes:
    return read_file(SourceFile(path, root / path), root)


def read_refused(root: Path, path: str) -> str:
    with pytest.raises(NotIngestible) as caught:
        read_path(root, path)
    return str(caught.value)


@WITH_AND_WITHOUT_GIT
def test_files_with_the_suffixes_are_found_sorted_by_path(tmp_path, make):
    make(tmp_path, {"b.py": "", "a/c.md": "", "a/d.pyc": "", "E.TXT": "", "f": "", "py": "", "g.yaml": "", "h.yml": ""})
    assert list_paths(tmp_path) == ["E.TXT", "a/c.md", "b.py", "g.yaml", "h.yml"]
    assert list_paths(tmp_path, ".pyc", ".MD") == ["a/c.md", "a/d.pyc"]


@WITH_AND_WITHOUT_GIT
def test_excluded_folders_are_never_read(tmp_path, make):
    make(tmp_path, {f"{name}/x.md": "" for name in ("__pycache__", "a/node_modules/b", "a")})
    write_files(tmp_path, {".git/x.md": ""})
    assert list_paths(tmp_path) == ["a/x.md"]


@WITH_AND_WITHOUT_GIT
def test_ignored_files_are_not_found(tmp_path, make):
    rules = {".gitignore": "build/\n*.txt\n!keep.txt\n/only.md\n", "docs/.gitignore": "*.md\n!index.md\n!b.txt\n"}
    ignored = ("build/a.md", "a.txt", "only.md", "docs/other.md", "docs/a.txt", "docs/build/a.md")
    included = ("keep.txt", "sub/only.md", "sub/keep.txt", "docs/index.md", "docs/b.txt")
    make(tmp_path, rules | dict.fromkeys(ignored + included, ""))
    assert list_paths(tmp_path) == sorted(included)


@WITH_AND_WITHOUT_GIT
def test_invalid_patterns_are_ignored(tmp_path, make):
    make(tmp_path, {".gitignore": b"!\n\\\na\\\n\xff\n[\n# b.md\nc.md\n", "b.md": "", "c.md": ""})
    assert list_paths(tmp_path) == ["b.md"]


def test_gitignore_pipe_is_not_read(tmp_path):
    write_files(tmp_path, {"a.md": ""})
    os.mkfifo(tmp_path / ".gitignore")
    assert list_paths(tmp_path) == ["a.md"]


def list_reasons(root: Path, *exclude: str) -> dict[str, str]:
    return {file.path: file.refusal for file in find_files(root, (".md", ".yaml", ".py", ".lock"), exclude)}


@WITH_AND_WITHOUT_GIT
def test_lock_files_and_other_peoples_code_are_excluded(tmp_path, make):
    read = ["a.md", "app/vendor/b.py", "docs/lock.md", "docs/pnpm.yaml"]
    files = ("pnpm-lock.yaml", "web/uv.lock", "api/x_pb2.py", "vendor/x/c.md", "vendor/y.py", "p/_vendor/d.py")
    make(tmp_path, dict.fromkeys([*read, *files], ""))
    assert list_reasons(tmp_path) == dict.fromkeys(read, "") | {
        place: f"It is excluded by the pattern {pattern}."
        for place, pattern in (
            ("pnpm-lock.yaml", "*-lock.yaml"), ("web/uv.lock", "*.lock"), ("api/x_pb2.py", "*_pb2.py"),
            ("vendor/", "/vendor/"), ("p/_vendor/", "_vendor/"),
        )
    }  # fmt: skip


@WITH_AND_WITHOUT_GIT
def test_patterns_exclude_and_include_again(tmp_path, make):
    make(tmp_path, dict.fromkeys(["a.md", "drafts/b.md", "drafts/deep/c.md", "uv.lock", "vendor/d.md"], ""))
    reasons = list_reasons(tmp_path, "drafts/**", "!drafts/b.md", "!uv.lock", "!/vendor/")
    assert reasons == dict.fromkeys(["a.md", "drafts/b.md", "uv.lock", "vendor/d.md"], "") | {
        "drafts/deep/": "It is excluded by the pattern drafts/**."
    }


def test_untracked_files_are_found(tmp_path):
    create_checkout(tmp_path, {"old.md": ""})
    write_files(tmp_path, {"new.md": ""})
    assert list_paths(tmp_path) == ["new.md", "old.md"]


def test_tracked_but_deleted_files_are_not_found(tmp_path):
    create_checkout(tmp_path, {"a.md": "", "b.md": ""})
    (tmp_path / "a.md").unlink()
    assert list_paths(tmp_path) == ["b.md"]


def test_a_subfolder_of_a_checkout_uses_its_rules(tmp_path):
    create_checkout(tmp_path, {".gitignore": "*.txt\n", "part/a.md": "", "part/b.txt": "", "other.md": ""})
    assert is_checkout(tmp_path / "part")
    assert list_paths(tmp_path / "part") == ["a.md"]


def test_a_folder_ignored_by_the_surrounding_checkout_is_read(tmp_path):
    create_checkout(tmp_path, {".gitignore": "vendored/\n", "vendored/a.md": "", "vendored/.gitignore": "b.md\n"})
    write_files(tmp_path, {"vendored/b.md": ""})
    assert list_paths(tmp_path / "vendored") == ["a.md"]


def test_a_checkout_that_git_cannot_list_is_refused(tmp_path, monkeypatch):
    create_checkout(tmp_path / "site", {"a.md": ""})
    real = shutil.which("git")
    fake = write_files(
        tmp_path, {"bin/git": f'#!/bin/sh\ncase "$*" in *ls-files*) exit 128;; esac\nexec {real} "$@"\n'}
    )
    (fake / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(NotIngestible, match="git cannot list"):
        find_files(tmp_path / "site")


def test_without_git_the_gitignore_files_are_used(tmp_path, monkeypatch):
    create_checkout(tmp_path, {".gitignore": "b.md\n", "a.md": ""})
    write_files(tmp_path, {"b.md": ""})
    monkeypatch.setenv("PATH", "")
    assert list_paths(tmp_path) == ["a.md"]


@WITH_AND_WITHOUT_GIT
def test_links_out_of_the_folder_are_refused(tmp_path, make):
    write_files(tmp_path, {"secret.md": "secret", "near/secret.md": "secret"})
    root = make(tmp_path / "root", {"a.md": ""}) and tmp_path / "root"
    (root / "absolute.md").symlink_to(tmp_path / "secret.md")
    (root / "relative.md").symlink_to("../secret.md")
    (root / "folder").symlink_to(tmp_path / "near")
    assert list_paths(root) == ["a.md", "absolute.md", "relative.md"]
    for path in ("absolute.md", "relative.md", "folder/secret.md"):
        assert read_refused(root, path) == "It is a link that leads out of the folder."


@WITH_AND_WITHOUT_GIT
def test_links_inside_are_followed_and_loops_and_dangling_ones_are_reported(tmp_path, make):
    root = make(tmp_path / "root", {"a.md": "tea", "deep/b.md": ""}) and tmp_path / "root"
    links = {"link.md": "a.md", "one.md": "two.md", "two.md": "one.md", "gone.md": "nowhere.md", "deep/up": ".."}
    for name, target in links.items():
        (root / name).symlink_to(target)
    (root / "folder.md").symlink_to("deep")
    found = set(list_paths(root))
    assert {"a.md", "deep/b.md", "link.md", "one.md", "two.md", "gone.md"} <= found
    assert not any("up/" in path for path in found)
    assert read_path(root, "link.md") == b"tea"
    assert read_refused(root, "one.md").startswith("It cannot be read")
    assert read_refused(root, "gone.md") == "It cannot be read: No such file or directory."
    assert read_refused(root, "folder.md") == "It is not a file."


def test_a_link_into_the_git_directory_is_refused(tmp_path):
    create_checkout(tmp_path, {"a.md": ""})
    (tmp_path / "config.md").symlink_to(".git/config")
    assert read_refused(tmp_path, "config.md") == "It is a link to a file that is always excluded."


@WITH_AND_WITHOUT_GIT
def test_a_pipe_is_refused_without_blocking(tmp_path, make):
    make(tmp_path, {"a.md": ""})
    os.mkfifo(tmp_path / "x.md")
    assert "a.md" in list_paths(tmp_path)
    assert read_refused(tmp_path, "x.md") == "It is not a file."


def test_files_up_to_2_mb_are_accepted(tmp_path):
    write_files(tmp_path, {"a.md": b"a" * MAX_FILE_BYTES, "b.md": b"a" * (MAX_FILE_BYTES + 1)})
    assert len(read_path(tmp_path, "a.md")) == MAX_FILE_BYTES
    assert read_refused(tmp_path, "b.md") == "It is larger than 2 MB."


READ_SCRIPT = """
import sys
from pathlib import Path
from ingestion.file_discovery import *
root = Path(sys.argv[1])
try:
    for file in find_files(root):
        read_file(file, root)
except NotIngestible as error:
    print(error)
"""


def test_an_unreadable_file_is_reported(tmp_path):
    write_files(tmp_path, {"a.md": ""})
    (tmp_path / "a.md").chmod(0)
    assert run_unprivileged(READ_SCRIPT, tmp_path) == "It cannot be read: Permission denied.\n"


def test_a_folder_that_cannot_be_entered_is_reported(tmp_path):
    write_files(tmp_path, {"closed/inner/a.md": ""})
    with unlistable(tmp_path / "closed"):
        output = run_unprivileged(READ_SCRIPT, tmp_path / "closed" / "inner")
    assert output == "The folder cannot be read: Permission denied.\n"


@WITH_AND_WITHOUT_GIT
@pytest.mark.parametrize("mode", [0, 0o100])
def test_an_unlistable_folder_stands_for_its_content(tmp_path, make, mode):
    make(tmp_path, {".gitignore": "out/\n", "a.md": "", "in/b.md": "", "in/deep/c.md": "", "inn/d.md": ""})
    write_files(tmp_path, {"out/e.md": "", "__pycache__/f.md": "", "new/g.md": ""})
    with unlistable(*[tmp_path / name for name in ("in", "out", "__pycache__", "new")], mode=mode):
        output = run_unprivileged(LIST_SCRIPT, tmp_path)
    assert output.split() == ["a.md", "in/", "inn/d.md", "new/"]
    assert read_refused(tmp_path, "in/") == "It is a folder that cannot be listed."


@WITH_AND_WITHOUT_GIT
def test_listed_files_that_cannot_be_examined_are_reported_one_by_one(tmp_path, make):
    make(tmp_path, {"a.md": "", "in/b.md": ""})
    with unlistable(tmp_path / "in", mode=0o400):
        output = run_unprivileged(LIST_SCRIPT, tmp_path), run_unprivileged(READ_SCRIPT, tmp_path)
    assert output == ("a.md in/b.md\n", "It cannot be read: Permission denied.\n")


def test_an_unlistable_root_is_reported(tmp_path):
    write_files(tmp_path, {"a.md": ""})
    with unlistable(tmp_path, mode=0o100):
        output = run_unprivileged(READ_SCRIPT, tmp_path)
    assert output == "The folder cannot be read: Permission denied.\n"


def test_another_checkout_inside_is_reported(tmp_path):
    create_checkout(tmp_path, {"a.md": "", ".gitignore": "ignored/\n"})
    create_checkout(tmp_path / "inner", {"b.md": ""})
    create_checkout(tmp_path / "ignored", {"c.md": ""})
    assert list_paths(tmp_path) == ["a.md", "inner/"]
    assert {file.path: file.refusal for file in find_files(tmp_path)} == {"a.md": "", "inner/": OTHER_CHECKOUT}


def add_submodule(root: Path, source: Path, path: str) -> None:
    run_git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(source), path)
    run_git(root, "commit", "--quiet", "--message", "a submodule")


def test_submodules_are_read(tmp_path):
    inner = create_checkout(tmp_path / "inner", {"deep/d.md": ""})
    library = create_checkout(tmp_path / "library", {"b.md": "", "c.txt": "", ".gitignore": "build/\n"})
    add_submodule(library, inner, "inner")
    root = create_checkout(tmp_path / "root", {"a.md": ""})
    add_submodule(root, library, "libs/glib")
    assert list_paths(root) == ["a.md", "libs/glib/b.md", "libs/glib/c.txt", "libs/glib/inner/"]
    assert find_files(root)[-1].refusal == NOT_CHECKED_OUT
    run_git(root, "-c", "protocol.file.allow=always", "submodule", "update", "--quiet", "--init", "--recursive")
    write_files(root, {"libs/glib/new.md": "", "libs/glib/build/e.md": ""})
    files = ["b.md", "c.txt", "inner/deep/d.md", "new.md"]
    assert list_paths(root) == ["a.md", *[f"libs/glib/{path}" for path in files]]
    assert read_path(root, "libs/glib/inner/deep/d.md") == b""


def test_a_submodule_replaced_by_a_link_is_not_listed(tmp_path):
    library = create_checkout(tmp_path / "library", {"b.md": "a secret"})
    root = create_checkout(tmp_path / "root", {"a.md": ""})
    add_submodule(root, library, "glib")
    shutil.rmtree(root / "glib")
    (root / "glib").symlink_to(library)
    assert list_paths(root) == ["a.md"]


@WITH_AND_WITHOUT_GIT
@pytest.mark.parametrize(
    ("rules", "included"),
    [
        ("docs/**\n!docs/keep.md", ["docs/keep.md"]),
        ("/docs/**\n!docs/keep.md", ["docs/keep.md"]),
        ("**/docs/**\n!keep.md", ["docs/keep.md"]),
        ("docs/**\n!docs/sub/\n!docs/sub/*.md", ["docs/sub/a.md"]),
        ("docs/**\n!docs/sub/", []),
        ("docs/*\n!docs/keep.md", ["docs/keep.md"]),
        ("docs\n!docs/keep.md", []),
        ("docs/**/\n", ["docs/keep.md", "docs/other.md"]),
        ("sub\n!*/\n", ["docs/keep.md", "docs/other.md", "docs/sub/a.md", "docs/sub/deep/b.md"]),
    ],
)
def test_files_are_included_again_as_in_git(tmp_path, make, rules, included):
    files = ("docs/keep.md", "docs/other.md", "docs/sub/a.md", "docs/sub/deep/b.md", "z.md")
    make(tmp_path, {".gitignore": f"{rules}\n"} | dict.fromkeys(files, ""))
    assert list_paths(tmp_path) == [*included, "z.md"]


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", ""), (b"\xef\xbb\xbftea", "tea"), ("Grüße ☕".encode(), "Grüße ☕"), (b"a\r\nb", "a\r\nb")],
    ids=["empty", "with a mark of its order", "wide", "Windows"],
)
def test_utf_8_is_text(content, text):
    assert decode_text(content) == text


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"a\0b", "It is binary."), ("tea".encode("utf-16"), "It is binary."), (b"caf\xe9", "It is not UTF-8.")],
)
def test_a_file_that_is_not_text_is_refused(content, reason):
    with pytest.raises(NotIngestible, match=reason):
        decode_text(content)


@WITH_AND_WITHOUT_GIT
def test_unusual_file_names_are_found_unchanged(tmp_path, make):
    names = ["a b.md", "line\nbreak.md", '"quoted".md', "ünï.md", os.fsdecode(b"\xff.md"), "-option.md", "\x1b[2J.md"]
    make(tmp_path, dict.fromkeys(names, "tea"))
    assert sorted(list_paths(tmp_path)) == sorted(names)
    assert all(read_path(tmp_path, name) == b"tea" for name in names)


def test_a_root_that_is_not_a_folder_is_refused(tmp_path):
    write_files(tmp_path, {"file.md": ""})
    for path, reason in [("gone", "There is no such folder."), ("file.md", "This is not a folder.")]:
        with pytest.raises(NotIngestible, match=reason):
            find_files(tmp_path / path)
    with pytest.raises(NotIngestible, match="The folder cannot be read: File name too long"):
        find_files(tmp_path / ("x" * 300))


@WITH_AND_WITHOUT_GIT
def test_an_empty_folder_has_no_files(tmp_path, make):
    make(tmp_path, {})
    assert list_paths(tmp_path) == []


def test_a_hostile_checkout_cannot_run_programs(tmp_path):
    root, mark = (
        create_checkout(tmp_path / "root", {"a.md": "tea", ".gitattributes": "*.md filter=evil diff=evil\n"}),
        "ran",
    )
    script = write_files(tmp_path, {"evil.sh": f"#!/bin/sh\ntouch {tmp_path / mark}\ncat\n"}) / "evil.sh"
    script.chmod(0o755)
    names = ("core.fsmonitor", "core.pager", "core.sshCommand", "core.editor", "filter.evil.clean")
    names += ("filter.evil.smudge", "filter.evil.process", "diff.evil.textconv", "credential.helper")
    for name in names:
        run_git(root, "config", name, str(script))
    for name in ("ls-files", "check-ignore"):
        run_git(root, "config", f"alias.{name}", f"!{script}")
    run_git(root, "config", "core.hooksPath", str(tmp_path))
    os.utime(root / "a.md", (1, 1))
    assert list_paths(root) == ["a.md"]
    assert not (tmp_path / mark).exists()


def test_the_hostile_checkout_would_run_a_program_in_plain_git(tmp_path):
    """What the test above relies on: git does what the configuration names."""
    root = create_checkout(tmp_path / "root", {"a.md": "tea"})
    script = write_files(tmp_path, {"evil.sh": f"#!/bin/sh\ntouch {tmp_path / 'ran'}\n"}) / "evil.sh"
    script.chmod(0o755)
    run_git(root, "config", "core.fsmonitor", str(script))
    run_git(root, "ls-files", "--others")
    assert (tmp_path / "ran").exists()
