"""Claude's memory directory on the server: what one agent writes down, another one reads, and every search finds.

    pip install './memory_client[anthropic]'
    MEMORY_URL=http://127.0.0.1:8000 MEMORY_KEY=mem_… python examples/claude_memory_tool.py

Without a key of Anthropic's, the calls below stand for Claude's. With one:

    Anthropic().beta.messages.tool_runner(
        model="claude-sonnet-5-5", max_tokens=1024, tools=[MemorySiteMemoryTool(user_id="ada")],
        messages=[{"role": "user", "content": "Remember that the harbour opens at nine."}],
    ).until_done()
"""

from anthropic.lib.tools import ToolError

from memory_client import MemoryClient
from memory_client.claude_memory import MemorySiteMemoryTool

NOTES = "/memories/harbour/notes.md"


def main() -> None:
    with MemoryClient() as client:
        tool = MemorySiteMemoryTool(client, user_id="ada")
        tool.clear_all_memory()
        tool.call({"command": "create", "path": NOTES, "file_text": "The harbour opens at eight.\n"})
        tool.call({"command": "str_replace", "path": NOTES, "old_str": "eight", "new_str": "nine"})

        later = MemorySiteMemoryTool(client, user_id="ada")  # as another agent would
        print(later.call({"command": "view", "path": "/memories"}))
        print(later.call({"command": "view", "path": NOTES}))
        try:
            later.call({"command": "view", "path": "/memories/../etc/passwd"})
        except ToolError as refusal:
            print(refusal)
        found = client.memories.search("When does the harbour open?", user_id="ada").results[0].memory
        print(f"{found.key}: {found.content.strip()}")


if __name__ == "__main__":
    main()
