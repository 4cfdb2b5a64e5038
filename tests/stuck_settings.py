"""The settings with an embedder that never comes back; EMBEDDING_MODEL names what happens to it."""

from memory_site.settings import *  # noqa: F403
from memory_site.settings import EMBEDDINGS

EMBEDDINGS["default"]["BACKEND"] = "tests.embedders.Stuck"
