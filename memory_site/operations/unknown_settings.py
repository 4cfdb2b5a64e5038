"""Finds variables that look like settings of this site and are none, so that a wrong name is not ignored in silence."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import NamedTuple

from memory_site.settings import Environment, read_variables

KNOWN = sorted(name.upper() for name in Environment.model_fields)
#: Read by docker-compose.yml only.
COMPOSE_ONLY = {"INGESTION_FOLDER"}
#: Read by agents' programs: the client, `manage.py mcp`, the plugin of Claude Code.
CLIENT_ONLY = {
    *("MEMORY_URL", "MEMORY_KEY", "MEMORY_USER", "MEMORY_PROJECT"),
    *("MEMORY_RECALL", "MEMORY_CAPTURE", "MEMORY_REMEMBER", "MEMORY_RECALL_TOKENS", "MEMORY_RECALL_SECONDS"),
    "MEMORY_QUEUE_DIR",
}
#: Names that begin like these are meant for this site.
OUR_PREFIXES = (
    "MEMORY_",
    "EMBEDDING_",
    "EMBEDDER_",
    "INGESTION_",
    "PG_POOL_",
    "EARLIER_EMBEDDING_",
    "SESSION_ENCRYPTION_",
)
#: Settings of PostgreSQL's image, which docker-compose.yml uses, and of sites that this one replaces.
PREFIXES_FROM_ELSEWHERE = ("POSTGRES_", "MAHAVISHNU_PG_")
DATABASE_SETTINGS = {"DATABASE_URL", "MEMORY_PG_HOST"}
SYNONYMS = {"DB": "DATABASE", "DBNAME": "DATABASE", "NAME": "DATABASE", "USERNAME": "USER"}
#: Of a name of eight letters one may be wrong, missing or too many.
MIN_SIMILARITY = 0.86


class UnknownSetting(NamedTuple):
    """A variable that is set and ignored, and the setting that was probably meant, if there is one."""

    name: str
    meant: str | None

    def __str__(self) -> str:
        hint = f": did you mean {self.meant}?" if self.meant else "."
        return f"{self.name} is set, but this site has no such setting{hint}"


def find_unknown_settings(variables: Mapping[str, str | None] | None = None) -> list[UnknownSetting]:
    """Return what is set (by default in the environment or .env) and was probably meant for this site."""
    given = {name.upper() for name, value in (variables or read_variables()).items() if value}
    return sorted(select_suspicious(given), key=lambda setting: setting.name)


def select_suspicious(given: set[str]) -> Iterator[UnknownSetting]:
    for name in given - {*KNOWN, *COMPOSE_ONLY, *CLIENT_ONLY}:
        meant = guess_meaning(name)
        # Beside a database that is named correctly, PostgreSQL's own settings belong to other programs.
        if name.startswith(PREFIXES_FROM_ELSEWHERE):
            if not given & DATABASE_SETTINGS:
                yield UnknownSetting(name, meant)
        elif (meant and meant not in given) or name.startswith(OUR_PREFIXES):
            yield UnknownSetting(name, meant)


def guess_meaning(name: str) -> str | None:
    """Return the setting that a name from elsewhere corresponds to, or the one it resembles."""
    for prefix in PREFIXES_FROM_ELSEWHERE:
        if name.startswith(prefix):
            part = name.removeprefix(prefix)
            return match if (match := f"MEMORY_PG_{SYNONYMS.get(part, part)}") in KNOWN else None
    return next(iter(get_close_matches(name, KNOWN, 1, MIN_SIMILARITY)), None)
