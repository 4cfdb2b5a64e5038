"""What goes wrong with backups, each in one sentence for the operator."""


class BackupProblem(Exception):
    """A backup cannot be made, read, verified or restored. The message says why, and names the file."""


class UnknownBackup(BackupProblem):
    """There is no backup of that name."""


class BackupsNotConfigured(BackupProblem):
    """There is no directory for backups."""


class BackupsNotSupported(BackupProblem):
    """This kind of database is backed up by other means."""


class DamagedBackup(BackupProblem):
    """The backup itself is wrong: its file, its manifest, or what a restore makes of them."""


class ManifestProblem(DamagedBackup):
    """A manifest is damaged, unsigned or of a newer release."""


class ForeignManifest(ManifestProblem):
    """A manifest was signed with another SECRET_KEY. Whether it was changed since cannot be said."""
