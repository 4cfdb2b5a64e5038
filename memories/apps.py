import psycopg
from django.apps import AppConfig
from pgvector import HalfVector
from pgvector.psycopg.halfvec import HalfVectorBinaryDumper, HalfVectorDumper


class MemoriesConfig(AppConfig):
    name = "memories"

    def ready(self) -> None:
        # Registers the system checks; imports models, so only when the apps are loaded.
        from memories import checks  # noqa: F401, PLC0415

        register_vector_dumpers()


def register_vector_dumpers() -> None:
    """Have vectors sent in binary, by the dumper registered last: as text each is five times as long, and takes a tenth
    of a millisecond to write. The text dumper is for Django's log of statements."""
    psycopg.adapters.register_dumper(HalfVector, HalfVectorDumper)
    psycopg.adapters.register_dumper(HalfVector, HalfVectorBinaryDumper)
