"""Which files of a folder are documents: by git where there is a checkout, else by its .gitignore files."""

import os
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

DEFAULT_SUFFIXES = (".py", ".md", ".txt", ".yaml", ".yml")
#: Never, wherever they lie and whether or not anybody ignores them.
EXCLUDED_NAMES = frozenset({".git", "__pycache__", "node_modules"})
MAX_FILE_BYTES = 2 * 2**20
GIT_TIMEOUT_SECONDS = 60
# A foreign checkout is read, and may not have us run what its configuration names.
GIT_COMMAND = ("git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.untrackedCache=false")


class NotIngestible(Exception):
    """A file or folder that cannot be taken; the text says why, in a sentence for people."""


class UnreadableFile(NotIngestible):
    """It cannot be read just now; nobody knows what is in it."""


@dataclass(frozen=True)
class SourceFile:
    """A file that may be a document: `path` below the root, with forward slashes. One that ends with a slash is a
    folder that cannot be listed, and stands for whatever is in it."""

    path: str
    location: Path

    @property
    def is_folder(self) -> bool:
        return self.path.endswith("/")


def find_files(root: Path, suffixes: tuple[str, ...] = DEFAULT_SUFFIXES) -> list[SourceFile]:
    """All of the folder, sorted by path. Raises NotIngestible when it is none, or cannot be read."""
    suffixes = tuple(suffix.lower() for suffix in suffixes)
    try:
        if not root.is_dir():
            raise NotIngestible("There is no such folder." if not root.exists() else "This is not a folder.")
        found = set(list_git_files(root) if is_checkout(root) else walk_folder(root))
    except OSError as error:
        raise NotIngestible(f"The folder cannot be read: {error.strerror}.") from error
    closed = tuple(path for path in found if path.endswith("/"))
    wanted = {path for path in found if is_wanted(path, suffixes) and not path.startswith(closed)}
    present = (path for path in wanted if not is_missing(root / path))
    return [SourceFile(path, root / path) for path in sorted([*present, *closed])]


def is_wanted(path: str, suffixes: tuple[str, ...]) -> bool:
    return path.lower().endswith(suffixes) and not EXCLUDED_NAMES & set(path.split("/"))


def is_missing(location: Path) -> bool:
    """What cannot be looked at may well be there."""
    try:
        location.lstat()
    except OSError as error:
        return isinstance(error, (FileNotFoundError, NotADirectoryError))
    return False


def is_checkout(root: Path) -> bool:
    """Whether git knows the folder, which a checkout around it may ignore."""
    return run_git(root, "check-ignore", "--quiet", ".")[0] == 1


def list_git_files(root: Path) -> Iterator[str]:
    """Tracked and new files that are not ignored, and folders as from_disk gives them. Raises NotIngestible rather than
    to give only some."""
    code, listing, complaints = run_git(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if code:
        raise NotIngestible("git cannot list the folder.")
    found = (os.fsdecode(path) for path in listing.split(b"\0") if path)
    yield from (path for path in found if not path.endswith("/"))  # other checkouts inside of this one
    if complaints:  # it leaves out what it cannot list, and says so in words of its own
        yield from (path for path in walk_folder(root) if path.endswith("/"))


def run_git(root: Path, *arguments: str) -> tuple[int, bytes, bytes]:
    """Exit code, output and complaints; 127 where there is no git. Raises NotIngestible when it takes too long."""
    try:
        done = subprocess.run(
            [*GIT_COMMAND, "-C", str(root), *arguments], capture_output=True, timeout=GIT_TIMEOUT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NotIngestible(f"git did not list the folder within {GIT_TIMEOUT_SECONDS} seconds.") from None
    except OSError:
        return 127, b"", b""
    return done.returncode, done.stdout, done.stderr


def walk_folder(root: Path) -> Iterator[str]:
    """Every file but the ignored ones, and with a slash at its end every folder that cannot be listed; links to folders
    are not followed, so there are no loops. Raises OSError when the root cannot be listed."""
    rules: dict[Path, GitIgnoreSpec] = {}
    closed: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=closed.append):
        here = Path(folder)
        if ".gitignore" in names:
            rules[here] = read_gitignore(here / ".gitignore")
        folders[:] = [
            name for name in folders if name not in EXCLUDED_NAMES and not is_ignored(here / name, rules, "/")
        ]
        yield from ((here / name).relative_to(root).as_posix() for name in names if not is_ignored(here / name, rules))
    for error in closed:
        if Path(error.filename) == root:
            raise error
        yield Path(error.filename).relative_to(root).as_posix() + "/"


def read_gitignore(file: Path) -> GitIgnoreSpec:
    """Lines that are no pattern say nothing, as for git, and neither does what is no file: a pipe would keep us."""
    try:
        lines = file.read_text(errors="replace").splitlines() if file.is_file() else []
    except OSError:
        lines = []
    return GitIgnoreSpec.from_lines(line for line in lines if is_pattern(line))


def is_pattern(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True


def is_ignored(path: Path, rules: dict[Path, GitIgnoreSpec], ending: str = "") -> bool:
    """The rule nearest to the path decides; a rule that begins with ! keeps it."""
    above = [folder for folder in path.parents if folder in rules]
    said = (rules[folder].check_file(path.relative_to(folder).as_posix() + ending).include for folder in above)
    return next((ignored for ignored in said if ignored is not None), False)


def read_file(file: SourceFile, root: Path) -> bytes:
    """The bytes. Raises NotIngestible."""
    if file.is_folder:
        raise UnreadableFile("It is a folder that cannot be listed.")
    try:
        target, top = file.location.resolve(), root.resolve()
        if not target.is_relative_to(top):
            raise NotIngestible("It is a link that leads out of the folder.")
        if EXCLUDED_NAMES & set(target.relative_to(top).parts):
            raise NotIngestible("It is a link to what is never read.")
        state = file.location.stat()
        if not stat.S_ISREG(state.st_mode):  # before it is opened: a pipe would keep us waiting
            raise NotIngestible("It is not a file.")
        if state.st_size > MAX_FILE_BYTES:
            raise NotIngestible(f"It is larger than {MAX_FILE_BYTES // 2**20} MB.")
        return file.location.read_bytes()
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links
        raise UnreadableFile(f"It cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def decode_text(content: bytes) -> str:
    """As text. Raises NotIngestible for what is none."""
    if b"\0" in content:
        raise NotIngestible("It is binary.")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise NotIngestible("It is not UTF-8.") from None
