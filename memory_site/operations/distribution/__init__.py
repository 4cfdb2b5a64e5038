"""Division of the tables by namespace: into hash partitions of one PostgreSQL."""
