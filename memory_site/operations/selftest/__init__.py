"""Gates for operators: faults, isolation and backups, tried on a scratch site that is thrown away."""
