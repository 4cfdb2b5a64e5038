"""Admin pages of memories."""

from memories.admin.memories import MemoryAdmin as MemoryAdmin
from memories.admin.reembedding import ReembeddingAdmin as ReembeddingAdmin
