"""Names of earlier systems, so that their callers move by an import: sessions, vector_store, nodes.

Each class keeps the methods, arguments and results of the one whose name it has, over `AsyncMemoryClient`.
"""
