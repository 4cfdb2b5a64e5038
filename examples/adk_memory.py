"""A Google ADK agent whose memory is Memory Site: what a user says in one session is known in the next, until it is
deleted.

    pip install './memory_client[adk]'
    MEMORY_KEY=mem_… python examples/adk_memory.py      # MEMORY_URL: by default http://127.0.0.1:8000

`StandIn` stands for a language model: it answers from what `preload_memory` put into its request.
"""

import asyncio
import re
from collections.abc import AsyncIterator

from google.adk.agents import LlmAgent
from google.adk.agents.callback_context import CallbackContext
from google.adk.models.base_llm import BaseLlm
from google.adk.models.llm_request import LlmRequest
from google.adk.models.llm_response import LlmResponse
from google.adk.runners import Runner
from google.adk.sessions import InMemorySessionService
from google.adk.tools import preload_memory
from google.genai.types import Content, Part

from memory_client.adk import MemorySiteMemoryService

APP, USER = "adk_example", "adk-example"


class StandIn(BaseLlm):
    model: str = "stand-in"

    async def generate_content_async(self, llm_request: LlmRequest, stream: bool = False) -> AsyncIterator[LlmResponse]:
        request = "\n".join(part.text or "" for content in llm_request.contents for part in content.parts or [])
        asks = any(line.endswith("?") for line in request.splitlines())
        known = re.search(r"^user: (.*[^?])$", request, re.MULTILINE) if asks else None
        answer = known[1] if known else "I do not know." if asks else "I will remember that."
        yield LlmResponse(content=Content(role="model", parts=[Part(text=answer)]))


async def keep(callback_context: CallbackContext) -> None:
    """Add the session to the memory after each turn; only what is new is stored."""
    await callback_context.add_session_to_memory()


async def say(runner: Runner, text: str) -> None:
    """Say it in a session of its own."""
    session = await runner.session_service.create_session(app_name=APP, user_id=USER)
    message = Content(role="user", parts=[Part(text=text)])
    async for event in runner.run_async(user_id=USER, session_id=session.id, new_message=message):
        if event.is_final_response() and event.content and event.content.parts:
            print(f"{text}  ->  {event.content.parts[0].text}")


async def forget(memory: MemorySiteMemoryService, what: str) -> None:
    """Delete the memory of the user's own words that is nearest to these."""
    found = await memory.search_memory(app_name=APP, user_id=USER, query=what)
    nearest = next(entry for entry in found.memories if entry.author == "user")
    await memory.delete_memory(app_name=APP, user_id=USER, memory_id=nearest.id)
    print(f"Forgotten: {nearest.content.parts[0].text if nearest.content.parts else ''}")


async def main() -> None:
    memory = MemorySiteMemoryService(limit=2)
    agent = LlmAgent(name="helper", model=StandIn(), tools=[preload_memory], after_agent_callback=keep)
    runner = Runner(app_name=APP, agent=agent, session_service=InMemorySessionService(), memory_service=memory)
    await say(runner, "My daughter was born in May.")
    await say(runner, "When is the birthday of my child?")
    await forget(memory, "my daughter was born")
    memory.client.users.erase(USER)  # so that the example can be run again


if __name__ == "__main__":
    asyncio.run(main())
