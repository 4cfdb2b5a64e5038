"""Changes to files of other programs: with a copy of what was there, and completely or not at all."""

import os
import stat
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from memory_site.operations.connect.errors import ConfigurationError

PRIVATE_MODE = 0o600
MAX_BYTES = 64 * 1024 * 1024


class ConfigurationFile:
    """One file, which may be missing. Symbolic links are followed: the file behind them is changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.target = path.expanduser().resolve()
            self.text = self._read() if self.target.exists() else None
        except (OSError, RuntimeError) as error:
            raise ConfigurationError(f"cannot be read: {describe(error)}") from error

    def _read(self) -> str:
        if not self.target.is_file():
            raise ConfigurationError("is not a file")
        if self.target.stat().st_size > MAX_BYTES:
            raise ConfigurationError(f"has more than {MAX_BYTES // 1024 // 1024} MB")
        try:
            return self.target.read_bytes().decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"byte {error.start} is not UTF-8") from None

    def check_writable(self) -> None:
        """Raise ConfigurationError if the file, or the nearest folder above it that exists, cannot be written."""
        folder = next(parent for parent in self.target.parents if parent.exists())
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise ConfigurationError(f"no permission to write in {folder}")
        if self.text is not None and not os.access(self.target, os.W_OK):
            raise ConfigurationError("no permission to write it")

    def protect(self) -> bool:
        """Make the file readable by its owner alone. Return whether it was not."""
        if not stat.S_IMODE(self.target.stat().st_mode) & 0o077:
            return False
        self.target.chmod(PRIVATE_MODE)
        return True

    def write(self, text: str, *, private: bool) -> Path | None:
        """Replace the file and return the copy of what was there before, if anything was.

        A private file, which holds a key, and its copy are readable by their owner alone; others keep the mode.
        """
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            if (self._read() if self.target.exists() else None) != self.text:
                raise ConfigurationError("was changed by another program in the meantime; run the command again")
            backup = self._copy(private) if self.text is not None else None
            self._replace(self.target, text, PRIVATE_MODE if private else self._get_mode())
        except OSError as error:
            raise ConfigurationError(f"cannot be written: {describe(error)}") from error
        return backup

    def _copy(self, private: bool) -> Path:
        moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        backup = self.target.with_name(f"{self.target.name}.{moment}.bak")
        self._replace(backup, self.text or "", PRIVATE_MODE if private else self._get_mode())
        return backup

    def _get_mode(self) -> int:
        """Return the mode of the file, or of a new file."""
        if self.text is not None:
            return stat.S_IMODE(self.target.stat().st_mode)
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask

    def _replace(self, path: Path, text: str, mode: int) -> None:
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                self._keep_owner(file.fileno())
                os.fchmod(file.fileno(), mode)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)
        except BaseException:
            os.unlink(draft)
            raise

    def _keep_owner(self, descriptor: int) -> None:
        """Give the new file to the owner of the old one, or of its folder: root may do this for another user."""
        info = (self.target if self.text is not None else self.target.parent).stat()
        if os.geteuid() == 0 and info.st_uid != 0:
            os.fchown(descriptor, info.st_uid, info.st_gid)


def describe(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
