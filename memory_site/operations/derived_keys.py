"""Keys that are derived from SECRET_KEY, one a purpose: none of them says anything of another."""

from functools import cache

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings


def derive_key(label: bytes) -> bytes:
    """Return 32 bytes by HKDF-SHA256 (RFC 5869) of SECRET_KEY; each purpose has a label of its own."""
    return _derive_key(settings.SECRET_KEY, label)


@cache
def _derive_key(secret: str, label: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=label).derive(secret.encode())
