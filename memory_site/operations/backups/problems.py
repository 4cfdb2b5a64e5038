"""What goes wrong with backups, each in one sentence for the operator."""


class BackupProblem(Exception):
    """A backup cannot be made, read, verified or restored. The message says why, and names the file."""


class ManifestProblem(BackupProblem):
    """A manifest is damaged, unsigned or of a newer release."""


class ForeignManifest(ManifestProblem):
    """A manifest was signed with another SECRET_KEY. Whether it was changed since cannot be said."""
