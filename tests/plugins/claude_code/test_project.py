"""The project that a folder belongs to."""

import pytest
from memory_hooks.project import find_project

PROJECTS = {
    "remote": ('[core]\n[remote "origin"]\n\turl = git@example.org:team/shop-api.git\n[branch "main"]\n', "shop-api"),
    "https": ('[remote "origin"]\nurl=https://example.org/team/shop/\n', "shop"),
    "no-remote": ("[core]\n", "folder"),
}


@pytest.mark.parametrize("case", PROJECTS)
def test_project_is_the_repository(case, tmp_path):
    config, name = PROJECTS[case]
    below = tmp_path / "folder" / "src" / "deep"
    below.mkdir(parents=True)
    (tmp_path / "folder" / ".git").mkdir()
    (tmp_path / "folder" / ".git" / "config").write_text(config)
    assert find_project(str(below)) == name


def test_project_of_a_worktree_and_of_a_plain_folder(tmp_path):
    git = tmp_path / "main" / ".git" / "worktrees" / "wt"
    git.mkdir(parents=True)
    (git / "commondir").write_text("../..\n")
    (tmp_path / "main" / ".git" / "config").write_text('[remote "origin"]\n  url = /srv/shop.git\n')
    (tmp_path / "wt").mkdir()
    (tmp_path / "wt" / ".git").write_text(f"gitdir: {git}\n")
    assert find_project(str(tmp_path / "wt")) == "shop"
    assert find_project(str(tmp_path)) == tmp_path.name
