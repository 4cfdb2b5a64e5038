"""Which of the divided tables (core/db/divided.py) are worth partitions."""

from memories.models import DueEmbedding, Embedding, Memory

#: The tables that grow with the memories: those that `distribute --partitions` divides.
LARGE_TABLES = [model._meta.db_table for model in (Memory, Embedding, DueEmbedding)]
