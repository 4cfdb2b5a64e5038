"""The settings with an embedder that never comes back; EMBEDDING_MODEL names what happens to it."""

from memory_site.settings import *  # noqa: F403
from memory_site.settings import EMBEDDINGS, INSTALLED_APPS

EMBEDDINGS["default"]["BACKEND"] = "tests.embedders.Stuck"
INSTALLED_APPS = [*INSTALLED_APPS, "tests.patient_checks.PatientChecks"]
