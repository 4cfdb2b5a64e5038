"""For a process whose settings make one check late: the others get the time that they need on a busy machine."""

import time
from collections.abc import Sequence

from django.apps import AppConfig

#: The check that never answers.
LATE = "embedder"
MAX_SECONDS = 120


class PatientChecks(AppConfig):
    name, label = "tests", "patient_checks"

    def ready(self) -> None:
        from memory_site.operations.health import runner  # noqa: PLC0415

        receive = runner.receive_components

        def receive_patiently(checks: Sequence[runner.CheckProcess], deadline: float) -> None:
            """All answers but the late one, and that one until the deadline."""
            receive([check for check in checks if check.name != LATE], time.monotonic() + MAX_SECONDS)
            receive([check for check in checks if check.name == LATE], deadline)

        runner.receive_components = receive_patiently
