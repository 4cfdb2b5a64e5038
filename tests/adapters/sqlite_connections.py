"""Connections to SQLite with the extension for vectors, also where Python was built without loadable extensions."""

import ctypes
import sqlite3
from ctypes.util import find_library

import sqlite_vec

OPTIONS = {"check_same_thread": False, "isolation_level": None}


class WithVectors(sqlite3.Connection):
    """It has the extension already: every connection of this process has it."""

    def enable_load_extension(self, enabled: bool) -> None:
        pass

    def load_extension(self, path: str) -> None:
        pass


def get_options() -> dict[str, object]:
    """Return the options of `sqlite3.connect` with which the extension can be used."""
    if hasattr(sqlite3.Connection, "enable_load_extension"):
        return OPTIONS
    library = ctypes.CDLL(find_library("sqlite3"))
    entry_point = ctypes.CDLL(f"{sqlite_vec.loadable_path()}.so").sqlite3_vec_init
    library.sqlite3_auto_extension(ctypes.cast(entry_point, ctypes.c_void_p))
    return OPTIONS | {"factory": WithVectors}
