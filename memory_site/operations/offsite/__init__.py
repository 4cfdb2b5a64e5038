"""Copies of backups and of the ledger of erasures at BACKUP_TARGET, any address that fsspec knows."""
