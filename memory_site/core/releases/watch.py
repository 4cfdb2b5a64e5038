"""What web processes and workers do that run while a newer release migrates their database: nothing more.

The heartbeat of each process looks at the release. Requests and tasks only read what it saw, which costs them no
statement.
"""

import logging

from memory_site.core.releases.compatibility import NewerDatabase, require_fitting_release

log = logging.getLogger(__name__)


class ReleaseWatch:
    """What this process saw last: the sentence that says why it may not use the database, or None."""

    refusal: str | None = None

    def look(self) -> None:
        """Look at the release of the database. Raises Error if it is away; then the process goes on as before."""
        before, self.refusal = self.refusal, find_refusal()
        if self.refusal != before:
            log.critical(self.refusal or "The database works with this release again.")

    def require(self) -> None:
        """Raise NewerDatabase if the database does not work with this release."""
        if self.refusal is not None:
            raise NewerDatabase(self.refusal)


def find_refusal() -> str | None:
    try:
        require_fitting_release()
    except NewerDatabase as error:
        return str(error)
    return None


release_watch = ReleaseWatch()
