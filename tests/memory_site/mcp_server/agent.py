"""An agent's client of the Model Context Protocol, as bare messages over HTTP."""

import json
from typing import Any

MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


class Agent:
    """Sends messages of one version of the protocol to an address of the site, with an API key."""

    def __init__(self, api: Any, path: str = "/mcp", version: str = MODERN, **headers: str) -> None:
        self.api, self.path, self.version, self.headers = api, path, version, headers

    def at(self, path: str, **headers: str) -> "Agent":
        return Agent(self.api, path, self.version, **headers)

    def post(self, method: str, params: dict[str, Any] | None = None, **headers: str):
        """Send a message and return the HTTP response."""
        params = dict(params or {})
        sent = {"MCP-Protocol-Version": self.version, **self.headers, **headers}
        if self.version == MODERN:
            params["_meta"] = META
            sent["Mcp-Method"] = method
            if name := params.get("name") or params.get("uri"):
                sent["Mcp-Name"] = name
        return self.raw(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}), **sent)

    def raw(self, body: str | bytes, method: str = "POST", **headers: str):
        headers = {"Authorization": f"Bearer {self.api.token}"} | headers if self.api.token else headers
        kind = headers.pop("Content-Type", "application/json")
        return self.api.client.generic(method, self.path, body, content_type=kind, headers=headers)

    def ask(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a message's result."""
        answer = self.post(method, params).json()
        assert "result" in answer, answer
        return answer["result"]

    def tools(self) -> dict[str, dict[str, Any]]:
        return {tool["name"]: tool for tool in self.ask("tools/list")["tools"]}

    def call(self, name: str, **arguments: Any) -> "Result":
        return Result(self.ask("tools/call", {"name": name, "arguments": arguments}))

    def data(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Return the structured answer of a call that succeeds."""
        result = self.call(name, **arguments)
        assert not result.is_error, result.text
        return result.data

    def fault(self, name: str, **arguments: Any) -> str:
        """Return the sentence of a call that fails."""
        result = self.call(name, **arguments)
        assert result.is_error, result.text
        assert "Traceback" not in result.text
        return result.text


class Result:
    def __init__(self, result: dict[str, Any]) -> None:
        self.is_error = result.get("isError", False)
        self.text = "\n".join(part["text"] for part in result["content"])
        self.data = result.get("structuredContent")
