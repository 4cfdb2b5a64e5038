"""Transcripts of Claude Agent SDK sessions that another machine can list, read and resume.

    pip install './memory_client[claude-agent-sdk]'
    MEMORY_URL=http://127.0.0.1:8000 MEMORY_KEY=mem_… python examples/claude_agent_sessions.py

Without the `claude` program, `write_transcript` stands for a run of an agent:

    options = ClaudeAgentOptions(session_store=MemorySiteSessionStore())
    async for message in query(prompt="When does the harbour open?", options=options): ...
"""

import asyncio
import tempfile
from uuid import uuid4

from claude_agent_sdk import (
    get_session_messages_from_store,
    list_sessions_from_store,
    project_key_for_directory,
    rename_session_via_store,
)

from memory_client.claude_sessions import MemorySiteSessionStore


async def write_transcript(store: MemorySiteSessionStore, directory: str, session_id: str) -> None:
    """Add what the SDK adds while an agent answers one question."""
    question, answer = str(uuid4()), str(uuid4())
    key = {"project_key": project_key_for_directory(directory), "session_id": session_id}
    said = {"role": "user", "content": "When does the harbour open?"}
    reply = {"role": "assistant", "content": [{"type": "text", "text": "At nine."}]}
    entries = [
        {"type": "user", "uuid": question, "parentUuid": None, "message": said},
        {"type": "assistant", "uuid": answer, "parentUuid": question, "message": reply},
    ]
    await store.append(key, entries)


async def main() -> None:
    directory, session_id = tempfile.gettempdir(), str(uuid4())
    await write_transcript(MemorySiteSessionStore(user_id="ada"), directory, session_id)

    store = MemorySiteSessionStore(user_id="ada")  # as another process would
    await rename_session_via_store(store, session_id, "Harbour", directory=directory)
    for session in await list_sessions_from_store(store, directory=directory, limit=1):
        print(f"{session.custom_title}: {session.first_prompt}")
    for message in await get_session_messages_from_store(store, session_id, directory=directory):
        content = message.message["content"]
        print(f"{message.type}: {content if isinstance(content, str) else content[0]['text']}")


if __name__ == "__main__":
    asyncio.run(main())
