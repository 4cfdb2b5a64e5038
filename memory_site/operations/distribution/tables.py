"""Which tables become partitioned."""

from memories.models import DueEmbedding, Embedding, Memory

#: Those that grow with the memories.
LARGE_TABLES = tuple(model._meta.db_table for model in (Memory, Embedding, DueEmbedding))
