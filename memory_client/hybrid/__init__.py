"""Hybrid memory: an agent's own local file, and the server behind it. See docs/agents/hybrid.md."""

from memory_client.hybrid.aio import AsyncHybridMemory
from memory_client.hybrid.checkpoints import Checkpoint
from memory_client.hybrid.errors import (
    ForeignFile,
    HybridError,
    InvalidMemory,
    LocalFileBusy,
    LocalFileError,
    LocalFileFull,
    OutboxFull,
    UnknownMemory,
)
from memory_client.hybrid.limits import Limits
from memory_client.hybrid.memory import HybridMemory
from memory_client.hybrid.nodes import Entity, Node
from memory_client.hybrid.outbox import RefusedWrite
from memory_client.hybrid.statistics import Status
from memory_client.hybrid.views import Retrieved, View

__all__ = [
    "AsyncHybridMemory",
    "Checkpoint",
    "Entity",
    "ForeignFile",
    "HybridError",
    "HybridMemory",
    "InvalidMemory",
    "Limits",
    "LocalFileBusy",
    "LocalFileError",
    "LocalFileFull",
    "Node",
    "OutboxFull",
    "RefusedWrite",
    "Retrieved",
    "Status",
    "UnknownMemory",
    "View",
]
