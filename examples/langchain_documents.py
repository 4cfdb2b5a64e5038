"""Documents in a LangChain vector store on Memory Site, and a retriever over everything that is remembered.

pip install './memory_client[langchain]'
MEMORY_KEY=mem_… python examples/langchain_documents.py      # MEMORY_URL: by default http://127.0.0.1:8000
"""

from langchain_core.documents import Document

from memory_client import MemoryClient
from memory_client.langchain import MemorySiteRetriever, MemorySiteVectorStore

DOCUMENTS = [
    Document(id="tea", page_content="The kitchen serves oolong and green tea.", metadata={"source": "handbook"}),
    Document(id="deploys", page_content="Deploys run every Tuesday at ten.", metadata={"source": "handbook"}),
    Document(id="party", page_content="Ben brings cake on Friday.", metadata={"source": "chat"}),
]


def main() -> None:
    with MemoryClient() as client:
        client.memories.add("Ada is allergic to nuts.", user_id="ada")

        store = MemorySiteVectorStore(client, collection="example")
        store.add_documents(DOCUMENTS)  # each in the place of what has its id
        for document, score in store.similarity_search_with_relevance_scores("What can I drink?", k=2):
            print(f"{score:.2f}  {document.page_content}")

        handbook = store.as_retriever(search_kwargs={"k": 1, "filter": {"source": "handbook"}})
        print("handbook:", handbook.invoke("When is the release?")[0].page_content)

        everything = MemorySiteRetriever(client=client, k=1)
        print("memories:", everything.invoke("What may Ada not eat?")[0].page_content)


if __name__ == "__main__":
    main()
