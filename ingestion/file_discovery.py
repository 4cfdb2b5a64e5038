"""Discovery and reading of a folder's files: listed by git in a checkout, else by walking with .gitignore rules."""

import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from ingestion.exclusions import Exclusions
from ingestion.gitignore import is_ignored, read_gitignore

DEFAULT_SUFFIXES = (".py", ".md", ".txt", ".yaml", ".yml")
#: Excluded at every level, whether or not a .gitignore names them.
EXCLUDED_NAMES = frozenset({".git", "__pycache__", "node_modules"})
MAX_FILE_BYTES = 2 * 2**20
GIT_TIMEOUT_SECONDS = 60
OTHER_CHECKOUT = "It is a checkout of its own. Ingest it as a repository of its own."
NOT_CHECKED_OUT = "It is a submodule that is not checked out."
# The checkout may be hostile: its configuration must not make git run a program.
GIT_COMMAND = ("git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false")


class NotIngestible(Exception):
    """A file or folder that cannot be ingested; the message is a sentence that gives the reason."""


class UnreadableFile(NotIngestible):
    """A file or folder that cannot be read at the moment: its stored documents must stay."""


@dataclass(frozen=True)
class SourceFile:
    """A candidate document, or what is not read. `path` is relative to the root, with forward slashes.

    A path that ends with a slash is a folder that is not read; it stands for everything in it. `refusal` is the reason
    why a file or folder is not read; a folder without one cannot be listed.
    """

    path: str
    location: Path
    refusal: str = ""

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


def find_files(
    root: Path, suffixes: tuple[str, ...] = DEFAULT_SUFFIXES, exclude: Sequence[str] = ()
) -> list[SourceFile]:
    """Return the folder's files with these suffixes, sorted by path. What is not read is among them with the reason.

    `exclude` are patterns as in .gitignore, in addition to DEFAULT_EXCLUDES.
    Raises NotIngestible when the root is not a folder or cannot be read.
    """
    suffixes = tuple(suffix.lower() for suffix in suffixes)
    try:
        if not root.is_dir():
            raise NotIngestible("There is no such folder." if not root.exists() else "This is not a folder.")
        paths = dict(list_git_files(root) if is_checkout(root) else walk_folder(root))
    except OSError as error:
        raise NotIngestible(f"The folder cannot be read: {error.strerror}.") from error
    unread = tuple(path for path in paths if path.endswith("/"))
    selected = {path for path in paths if is_selected(path, suffixes) and not path.startswith(unread)}
    refusals = {path: paths[path] for path in unread} | set_excluded_apart(selected, Exclusions(exclude))
    refusals |= {path: "" for path in selected if not is_missing(root / path)}
    return [SourceFile(path, root / path, refusal) for path, refusal in sorted(refusals.items())]


def is_selected(path: str, suffixes: tuple[str, ...]) -> bool:
    return path.lower().endswith(suffixes) and not EXCLUDED_NAMES & set(path.split("/"))


def set_excluded_apart(paths: set[str], exclusions: Exclusions) -> dict[str, str]:
    """Remove excluded files from the paths. Return the files and folders that are excluded, with the reason."""
    found = {path: exclusion for path in paths if (exclusion := exclusions.find(path))}
    paths.difference_update(found)
    return {place: f"It is excluded by the pattern {pattern}." for place, pattern in found.values()}


def is_missing(location: Path) -> bool:
    """Return whether the file certainly does not exist; one that cannot be examined may exist."""
    try:
        location.lstat()
    except OSError as error:
        return isinstance(error, (FileNotFoundError, NotADirectoryError))
    return False


def is_checkout(root: Path) -> bool:
    """Return whether git tracks the folder: a checkout around it may ignore it."""
    return run_git(root, "check-ignore", "--quiet", ".")[0] == 1


def list_git_files(root: Path) -> Iterator[tuple[str, str]]:
    """Yield tracked and untracked files that are not ignored, those of submodules too, each with "".

    Yields folders that are not read with the reason, and unlistable ones as `walk_folder` does. Raises NotIngestible
    when git fails, rather than yield an incomplete list.
    """
    code, listing, warnings = run_git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if code:
        raise NotIngestible("git cannot list the folder.")
    for path in (os.fsdecode(path) for path in listing.split(b"\0") if path):
        if path.endswith("/"):  # untracked, so git does not look into it
            yield path, OTHER_CHECKOUT
        elif is_real_folder(root, path):
            yield from list_submodule(root, path)
        else:
            yield path, ""
    if warnings:  # git omits what it cannot list and only prints a localised warning
        yield from ((path, reason) for path, reason in walk_folder(root) if path.endswith("/"))


def is_real_folder(root: Path, path: str) -> bool:
    """Return whether the path is a folder that no link leads to. Git lists a folder only for a submodule."""
    location = os.path.join(root, path)  # os.path raises nothing where it may not look
    return os.path.isdir(location) and os.path.realpath(location) == os.path.join(os.path.realpath(root), path)


def list_submodule(root: Path, path: str) -> Iterator[tuple[str, str]]:
    if not (root / path / ".git").exists():
        yield f"{path}/", NOT_CHECKED_OUT
        return
    for inner, reason in list_git_files(root / path):
        yield f"{path}/{inner}", reason


def run_git(root: Path, *arguments: str) -> tuple[int, bytes, bytes]:
    """Return exit code, stdout and stderr; the code is 127 where git is missing. Raises NotIngestible on a timeout."""
    try:
        done = subprocess.run(  # noqa: S603  (no shell; the arguments are constants and the folder behind -C)
            [*GIT_COMMAND, "-C", str(root), *arguments], capture_output=True, timeout=GIT_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotIngestible(f"git did not list the folder within {GIT_TIMEOUT_SECONDS} seconds.") from None
    except OSError:
        return 127, b"", b""
    return done.returncode, done.stdout, done.stderr


def walk_folder(root: Path) -> Iterator[tuple[str, str]]:
    """Yield every file that is not ignored, and every folder that cannot be listed, with a slash at its end; each with
    "", as there is no other reason.

    Links to folders are not followed, so there are no loops. Raises OSError when the root cannot be listed.
    """
    rules: dict[Path, GitIgnoreSpec] = {}
    errors: list[OSError] = []
    for folder_name, subfolders, names in os.walk(root, onerror=errors.append):
        folder = Path(folder_name)
        if ".gitignore" in names:
            rules[folder] = read_gitignore(folder / ".gitignore")
        subfolders[:] = [
            name
            for name in subfolders
            if name not in EXCLUDED_NAMES and not is_ignored(folder / name, rules, is_folder=True)
        ]
        files = (folder / name for name in names if not is_ignored(folder / name, rules))
        yield from ((file.relative_to(root).as_posix(), "") for file in files)
    for error in errors:
        if Path(error.filename) == root:
            raise error
        yield Path(error.filename).relative_to(root).as_posix() + "/", ""


def read_file(file: SourceFile, root: Path) -> bytes:
    """Return the file's bytes. Raises NotIngestible, or UnreadableFile when it may be readable later."""
    if file.refusal:
        raise NotIngestible(file.refusal)
    if file.is_folder:
        raise UnreadableFile("It is a folder that cannot be listed.")
    try:
        target, top = file.location.resolve(), root.resolve()
        if not target.is_relative_to(top):
            raise NotIngestible("It is a link that leads out of the folder.")
        if EXCLUDED_NAMES & set(target.relative_to(top).parts):
            raise NotIngestible("It is a link to a file that is always excluded.")
        state = file.location.stat()
        if not stat.S_ISREG(state.st_mode):  # before opening: a pipe would block
            raise NotIngestible("It is not a file.")
        if state.st_size > MAX_FILE_BYTES:
            raise NotIngestible(f"It is larger than {MAX_FILE_BYTES // 2**20} MB.")
        return file.location.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise UnreadableFile(f"It cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def decode_text(content: bytes) -> str:
    """Decode UTF-8, with or without a byte order mark. Raises NotIngestible for anything else."""
    if b"\0" in content:
        raise NotIngestible("It is binary.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NotIngestible("It is not UTF-8.") from None
