"""A port that stays a test's own, also while nothing listens at it."""

import socket


def hold_port() -> socket.socket:
    """Return a socket that is bound to a port of 127.0.0.1: no other program gets it as a free one, connections are
    refused, and a listener with SO_REUSEADDR may come and go."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    return holder
