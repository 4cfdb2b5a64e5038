"""The ledger of erasures beside the backups: what was erased stays erased when an earlier backup is restored."""
