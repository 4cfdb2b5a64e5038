"""Ids of other systems that are written in more than one way, and the one under which an entity is stored."""

import re

SALESFORCE = "salesforce"
SALESFORCE_ID = re.compile(r"[0-9A-Za-z]{15}(?:[0-9A-Za-z]{3})?")
SHORT_LENGTH, LONG_LENGTH = 15, 18
SALESFORCE_CHECKSUM_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def complete_entity_id(system: str, own_id: str) -> str:
    """Return the id under which an entity is stored: a Salesforce id of 15 characters becomes the one of 18."""
    is_short = system == SALESFORCE and len(own_id) == SHORT_LENGTH and SALESFORCE_ID.fullmatch(own_id)
    return add_checksum(own_id) if is_short else own_id


def convert_salesforce_id(own_id: str) -> tuple[str, ...]:
    """Return the id of 18 characters for a case-sensitive one of 15, or the other way round; nothing for other ids."""
    if not own_id.isascii() or not SALESFORCE_ID.fullmatch(own_id):
        return ()
    return (own_id[:SHORT_LENGTH],) if len(own_id) == LONG_LENGTH else (add_checksum(own_id),)


def add_checksum(own_id: str) -> str:
    """Append the three characters that encode which of the 15 are upper case, five in each."""
    groups = (own_id[start : start + 5] for start in (0, 5, 10))
    indexes = (sum(letter.isupper() << at for at, letter in enumerate(group)) for group in groups)
    return own_id + "".join(SALESFORCE_CHECKSUM_ALPHABET[index] for index in indexes)
