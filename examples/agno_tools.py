"""An Agno agent with the tools of Memory Site.

    pip install './memory_client[agno]'
    MEMORY_KEY=mem_… python examples/agno_tools.py      # MEMORY_URL: by default http://127.0.0.1:8000

`StandIn` stands for a language model: it remembers each message, and recalls before it answers a question.
"""

import json
from typing import Any

from agno.agent import Agent
from agno.models.base import Model
from agno.models.response import ModelResponse

from memory_client.agno import MemorySiteTools


class StandIn(Model):
    def __init__(self) -> None:
        super().__init__(id="stand-in")

    def invoke(self, messages: list[Any], **kwargs: Any) -> ModelResponse:
        last = messages[-1]
        if last.role == "tool":
            return ModelResponse(role="assistant", content=last.content.split("\n")[0].split(" · ")[-1])
        asks = last.content.endswith("?")
        name, arguments = ("recall", {"query": last.content}) if asks else ("remember", {"content": last.content})
        call = {"name": name, "arguments": json.dumps(arguments)}
        return ModelResponse(role="assistant", tool_calls=[{"id": "1", "type": "function", "function": call}])

    async def ainvoke(self, *args: Any, **kwargs: Any) -> ModelResponse:
        return self.invoke(*args, **kwargs)

    def invoke_stream(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def ainvoke_stream(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    def _parse_provider_response(self, response: Any, **kwargs: Any) -> ModelResponse:
        raise NotImplementedError

    def _parse_provider_response_delta(self, response: Any) -> ModelResponse:
        raise NotImplementedError


def main() -> None:
    agent = Agent(model=StandIn(), tools=[MemorySiteTools()], telemetry=False)
    for said in ("Ada's daughter was born in May.", "When is the birthday of Ada's child?"):
        print(f"{said}  ->  {agent.run(said, user_id='agno-example').content}")


if __name__ == "__main__":
    main()
