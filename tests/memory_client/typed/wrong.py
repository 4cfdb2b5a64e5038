"""What type checkers refuse: mypy reports every line that has a comment, and no other."""

from memory_client import AsyncMemoryClient, MemoryClient


async def misuse(client: MemoryClient, other: AsyncMemoryClient) -> None:
    client.memories.add()  # call-arg
    client.memories.add("Tea.", colour="red")  # call-arg
    client.memories.add("Tea.", importance="high")  # arg-type
    client.memories.search("tea", mode="psychic")  # arg-type
    client.memories.list(user="ada")  # call-arg
    client.memories.get(7)  # arg-type
    client.memories.add_many([{"summary": "No content."}])  # typeddict-item
    print(client.memories.get("1").mood)  # attr-defined
    print(client.moods)  # attr-defined
    print(other.memories.add("Tea.").id)  # attr-defined
    for each in other.memories.list():  # attr-defined
        print(each)
