"""The tools of /mcp, in the order in which they are listed."""

from memory_site.mcp_server.tools.finding import list_memories, recall
from memory_site.mcp_server.tools.knowledge import search_knowledge
from memory_site.mcp_server.tools.overview import context
from memory_site.mcp_server.tools.reading import get_memory
from memory_site.mcp_server.tools.sessions import session_context
from memory_site.mcp_server.tools.status import memory_status
from memory_site.mcp_server.tools.tool import build_toolbox
from memory_site.mcp_server.tools.writing import forget, remember, update_memory

MEMORY_TOOLS = build_toolbox(
    *(remember, recall, context, list_memories, get_memory, update_memory, forget),
    *(search_knowledge, session_context, memory_status),
)
