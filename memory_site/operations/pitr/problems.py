"""What goes wrong with recovery to a moment, each in one sentence for the operator."""


class PitrProblem(Exception):
    """Something cannot be done, and nothing was changed. The message says why."""


class UsageProblem(PitrProblem):
    """What was asked for is unreadable or impossible."""


class NotRecoverable(PitrProblem):
    """The archive does not hold the asked time."""


class RecoveryFailed(PitrProblem):
    """PostgreSQL did not come to the asked time. The message says how far it came."""


class LogEnded(RecoveryFailed):
    """The log has no transaction after the asked time, so PostgreSQL cannot know whether it is whole."""
