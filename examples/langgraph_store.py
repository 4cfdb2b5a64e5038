"""A LangGraph agent whose long-term memory is Memory Site: what a user says in one thread is known in the next.

    pip install './memory_client[langgraph]' langgraph
    MEMORY_KEY=mem_… python examples/langgraph_store.py      # MEMORY_URL: by default http://127.0.0.1:8000

`answer` stands for a language model.
"""

from dataclasses import dataclass
from hashlib import sha256
from typing import TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from memory_client.langgraph import MemorySiteStore


class State(TypedDict, total=False):
    said: str
    known: list[str]
    answer: str


@dataclass
class Context:
    user: str


def recall(state: State, runtime: Runtime[Context]) -> State:
    """Find what is known about the user that has to do with what was said."""
    found = runtime.store.search(("users", runtime.context.user, "facts"), query=state["said"], limit=3)
    return {"known": [item.value["text"] for item in found]}


def answer(state: State) -> State:
    if state["said"].endswith("?"):
        return {"answer": state["known"][0] if state["known"] else "I do not know yet."}
    return {"answer": "I will remember that."}


def remember(state: State, runtime: Runtime[Context]) -> State:
    """Keep what the user tells, once: its digest is the key."""
    if not state["said"].endswith("?"):
        key = sha256(state["said"].encode()).hexdigest()[:16]
        runtime.store.put(("users", runtime.context.user, "facts"), key, {"text": state["said"]}, index=["text"])
    return {}


def build_graph() -> StateGraph:
    graph = StateGraph(State, context_schema=Context)
    for node in (recall, answer, remember):
        graph.add_node(node)
    for step in ((START, "recall"), ("recall", "answer"), ("answer", "remember"), ("remember", END)):
        graph.add_edge(*step)
    return graph


def main() -> None:
    agent = build_graph().compile(store=MemorySiteStore(name="example"))
    for said in ("I drink oolong in the morning.", "My train leaves at nine.", "Which tea do I like?"):
        state = agent.invoke({"said": said}, context=Context(user="ada"))
        print(f"{said}  ->  {state['answer']}")


if __name__ == "__main__":
    main()
