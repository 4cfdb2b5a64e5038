"""The network address of a request's client."""

from ipaddress import IPv6Address, IPv6Network, ip_address

from django.conf import settings
from django.http import HttpRequest

#: Who has one address of IPv6 has all of its /64.
IPV6_PREFIX = 64


def get_client_address(request: HttpRequest) -> str | None:
    """Return the address of the client, or None if it came over a Unix socket or said nothing readable.

    Behind TRUSTED_PROXIES proxies it is the last entry but so many of X-Forwarded-For: what stands further left, the
    client may have written itself.
    """
    return find_address(request.META.get("REMOTE_ADDR"), request.META.get("HTTP_X_FORWARDED_FOR"))


def find_address(remote: str | None, forwarded: str | None) -> str | None:
    """Return the client's address from the connection's and the header."""
    entries = [each for each in (forwarded or "").split(",") if each.strip()]
    proxies = settings.TRUSTED_PROXIES
    return parse_address(entries[-proxies] if 0 < proxies <= len(entries) else remote or "")


def parse_address(text: str) -> str | None:
    """Return an address without brackets and port in its usual form."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        address = address.ipv4_mapped or IPv6Address(int(address))  # without a scope, which PostgreSQL does not take
    return str(address)


def get_client_network(request: HttpRequest) -> str | None:
    """Return what failed logins are counted for: the address, of IPv6 the first one of its network."""
    address = get_client_address(request)
    if address is None or ":" not in address:
        return address
    return str(IPv6Network((address, IPV6_PREFIX), strict=False).network_address)
