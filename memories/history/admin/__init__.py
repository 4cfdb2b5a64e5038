"""Admin classes of the app: changes of memories, and the trash."""

from memories.history.admin.changes import MemoryVersionAdmin as MemoryVersionAdmin
from memories.history.admin.trash import TrashAdmin as TrashAdmin
