"""One file for each peer: `Peer(rows, **settings)` with write_one(row), write_many(rows) if the peer has bulk writing,
finish() if an index is made after loading, search(wanted, limit) and close(). PACKAGES are those whose versions the
table names.
"""
