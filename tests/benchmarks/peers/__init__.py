"""This product beside others: the same rows, vectors and filters, in databases of the same PostgreSQL server.

    __main__.py   the command: rows, a database and a process for each peer, figures in turns, tables
    rows.py       the rows, the filters and the exact answers
    report.py     the figures as tables
    arm.py        the process of one peer, in that peer's own virtual environment
    adapters/     one small file for each peer: write, search, close

Nothing here imports a peer but its adapter, and no adapter imports anything of the product but its own. No embedding
model runs: where a peer insists on embedding texts itself, its embedder looks the given vector up.
"""
