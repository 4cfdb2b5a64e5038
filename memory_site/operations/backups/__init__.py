"""Logical backups: one file of pg_dump and one signed manifest each, restored and compared before they count."""
