// Uses the MCP server with the protocol's client for JavaScript, and prints what came back as one line of JSON.
// node agent.cjs http ADDRESS KEY | stdio COMMAND ARGUMENTS…
const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
const { StdioClientTransport } = require("@modelcontextprotocol/client/stdio");

function connect([kind, first, ...rest]) {
  if (kind === "stdio") return new StdioClientTransport({ command: first, args: rest, env: process.env });
  const headers = { Authorization: `Bearer ${rest[0]}` };
  return new StreamableHTTPClientTransport(new URL(first), { requestInit: { headers } });
}

async function attempt(call) {
  try {
    return await call();
  } catch (error) {
    return { failed: String(error.message) };
  }
}

async function main() {
  const client = new Client({ name: "tests", version: "1" });
  const said = {};
  const connected = await attempt(() => client.connect(connect(process.argv.slice(2))));
  if (connected?.failed) {
    await client.close();
    return connected;
  }
  const use = async (name, args) => (said[name] = await client.callTool({ name, arguments: args }));
  said.tools = (await client.listTools()).tools.map((tool) => tool.name);
  const stored = await use("remember", { content: "Zebras graze in the north meadow", tags: ["node"] });
  if (stored.isError) {
    await client.close();
    return { ...said, refused: stored.content[0].text };
  }
  const id = stored.structuredContent.memory.id;
  await use("recall", { query: "zebras in the meadow" });
  await use("context", { query: "zebras" });
  await use("list_memories", { tags: ["node"] });
  await use("get_memory", { id });
  await use("update_memory", { id, importance: 5 });
  await use("search_knowledge", { query: "zebras" });
  await use("session_context", { session: "none" });
  await use("memory_status", {});
  said.large = await client.callTool({ name: "remember", arguments: { content: "x".repeat(2 ** 20) } });
  said.resource = await client.readResource({ uri: `memory://${id}` });
  said.prompt = await client.getPrompt({ name: "memory_guide" });
  await use("forget", { ids: [id] });
  said.again = await client.callTool({ name: "get_memory", arguments: { id } });
  await client.close();
  return said;
}

main().then((said) => process.stdout.write(JSON.stringify(said) + "\n"));
