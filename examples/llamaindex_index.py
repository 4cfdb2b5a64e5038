"""A LlamaIndex index whose vector store is Memory Site, and a chat memory that outlasts its window.

    pip install './memory_client[llamaindex]'
    MEMORY_KEY=mem_… python examples/llamaindex_index.py      # MEMORY_URL: by default http://127.0.0.1:8000

The server embeds, so no embedding model is needed here; LlamaIndex wants one all the same, and `MockEmbedding` does.
"""

import asyncio

from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import Memory
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters

from memory_client.llamaindex import MemorySiteMemoryBlock, MemorySiteVectorStore

HANDBOOK = [
    Document(id_="deploys", text="Deploys run every Tuesday at ten.", metadata={"topic": "deploy"}),
    Document(id_="staging", text="The staging database is reset on Sundays.", metadata={"topic": "staging"}),
    Document(id_="on-call", text="Ben is on call in the first week of every month.", metadata={"topic": "people"}),
]


def search_handbook() -> None:
    store = MemorySiteVectorStore(collection="handbook-example")
    index = VectorStoreIndex.from_vector_store(store, embed_model=MockEmbedding(embed_dim=1))
    index.refresh_ref_docs(HANDBOOK)
    question = "When do we release?"
    print(f"{question}  ->  {index.as_retriever(similarity_top_k=1).retrieve(question)[0].text}")
    people = MetadataFilters(filters=[MetadataFilter(key="topic", value="people")])
    found = index.as_retriever(filters=people, vector_store_query_mode="hybrid").retrieve("Who can I call at night?")
    print(f"About people  ->  {found[0].text}")
    store.clear()


async def chat() -> None:
    block = MemorySiteMemoryBlock(user_id="llamaindex-example", limit=1)
    memory = Memory.from_defaults("monday", memory_blocks=[block], token_limit=60, chat_history_token_ratio=0.2)
    for text in ("My daughter was born in May.", "The printer needs new toner.", "My train leaves at nine."):
        await memory.aput(ChatMessage(role="user", content=text))
        await memory.aput(ChatMessage(role="assistant", content="I see."))
    recalled = await block.aget([ChatMessage(role="user", content="When is my child's birthday?")])
    print(f"When is my child's birthday?  ->  {recalled}")


if __name__ == "__main__":
    search_handbook()
    asyncio.run(chat())
