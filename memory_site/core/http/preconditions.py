"""If-Match and If-None-Match (RFC 9110, section 13): a request that depends on the version of what it reads or changes.

An entity tag names a version, not the bytes of an answer: our tags are strong, and counters do not move them.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from memory_site.core.http.problems import Problem

IF_MATCH, IF_NONE_MATCH = "If-Match", "If-None-Match"
#: One element of a list, which may be empty, with the comma behind it.
ELEMENT_PATTERN = re.compile(r'[ \t]*(?:(W/)?"([^"\x00-\x20\x7f]*)"[ \t]*)?(?:,|\Z)')
MALFORMED = 'must be * or a list of entity tags, as ETag has them: "1767225600000000", "1767225600000001"'
CHANGED, THERE_ALREADY, NOT_THERE = "It was changed meanwhile.", "It is there already.", "It is not there."


@dataclass(frozen=True)
class Tags:
    """The entity tags of a header; `strong` are those without W/. `any`: the header is an asterisk."""

    any: bool = False
    strong: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Preconditions:
    """What a request demands of the version that is stored. None: nothing."""

    if_match: Tags | None = None
    if_none_match: Tags | None = None

    def __bool__(self) -> bool:
        return self.if_match is not None or self.if_none_match is not None

    def check(self, version: object | None) -> None:
        """Raise Problem 412 if the request may not go on. `version`: what the entity tag of what is there is made of;
        None if nothing is there."""
        tag = None if version is None else str(version)
        if self.if_match is not None and not (tag is not None and is_in(tag, self.if_match, self.if_match.strong)):
            raise precondition_failed(CHANGED if tag is not None else NOT_THERE, tag)
        if self.has_seen(version):
            raise precondition_failed(THERE_ALREADY, tag)

    def has_seen(self, version: object | None) -> bool:
        """Whether If-None-Match names the version: then a GET is answered by 304."""
        tags, tag = self.if_none_match, str(version)
        return version is not None and tags is not None and is_in(tag, tags, tags.strong | tags.weak)


def is_in(tag: str, tags: Tags, named: Collection[str]) -> bool:
    return tags.any or tag in named


def read_preconditions(if_match: str | None, if_none_match: str | None) -> Preconditions:
    """Parse the headers. Raises Problem 400 that names the malformed one."""
    return Preconditions(parse_tags(IF_MATCH, if_match), parse_tags(IF_NONE_MATCH, if_none_match))


def read_absence(if_none_match: str | None) -> Tags | None:
    """Parse the If-None-Match of a request about several things: an asterisk, or None. Raises Problem 400."""
    tags = parse_tags(IF_NONE_MATCH, if_none_match)
    if tags is not None and not tags.any:
        raise Problem(400, f"{IF_NONE_MATCH} must be *.", errors=[{"field": IF_NONE_MATCH, "message": "must be *"}])
    return tags


def parse_tags(name: str, value: str | None) -> Tags | None:
    if value is None:
        return None
    if value.strip(" \t") == "*":
        return Tags(any=True)
    found: dict[str, set[str]] = {"": set(), "W/": set()}
    position = 0
    while position < len(value):
        element = ELEMENT_PATTERN.match(value, position)
        if element is None:
            raise malformed(name)
        if element[2] is not None:
            found[element[1] or ""].add(element[2])
        position = element.end()
    if not any(found.values()):
        raise malformed(name)
    return Tags(False, frozenset(found[""]), frozenset(found["W/"]))


def malformed(name: str) -> Problem:
    return Problem(400, f"{name} {MALFORMED}.", errors=[{"field": name, "message": MALFORMED}])


def precondition_failed(detail: str, tag: str | None = None) -> Problem:
    return Problem(412, detail, headers={} if tag is None else {"ETag": format_etag(tag)})


def format_etag(version: object) -> str:
    return f'"{version}"'
