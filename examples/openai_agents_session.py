"""An agent of the OpenAI Agents SDK that knows, in another process, what was said before.

    pip install './memory_client[openai-agents]'
    MEMORY_URL=http://127.0.0.1:8000 MEMORY_KEY=mem_… python examples/openai_agents_session.py

`Echo` stands for a language model; leave `model` out of the agent to ask OpenAI's.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, ModelResponse, Runner, Usage, set_tracing_disabled
from agents.models.interface import Model
from openai.types.responses import ResponseOutputMessage, ResponseOutputText

from memory_client.openai_agents import MemorySiteSession


class Echo(Model):
    """A model that repeats what the user said first in the session."""

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        first = next(item["content"] for item in input if item.get("role") == "user")
        text = ResponseOutputText(text=f"You began with: {first}", type="output_text", annotations=[])
        message = ResponseOutputMessage(
            id="message", content=[text], role="assistant", status="completed", type="message"
        )
        return ModelResponse(output=[message], usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        raise NotImplementedError


async def main() -> None:
    set_tracing_disabled(True)
    agent = Agent(name="Guide", instructions="Answer in one sentence.", model=Echo())
    session = MemorySiteSession("example-openai-agents", user_id="ada")
    await session.clear_session()
    await Runner.run(agent, "When does the harbour open?", session=session)

    later = MemorySiteSession("example-openai-agents", user_id="ada")  # as another process would
    result = await Runner.run(agent, "What did I ask?", session=later)
    print(result.final_output)
    print(f"{len(await later.get_items())} items are kept.")


if __name__ == "__main__":
    asyncio.run(main())
