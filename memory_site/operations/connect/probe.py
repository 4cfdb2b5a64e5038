"""Asks the MCP endpoint what a client would ask first, with the client's key."""

import json
from dataclasses import dataclass
from typing import Any

import urllib3

PROTOCOL = "2025-11-25"
CONNECT_SECONDS = 5
KEY_PATH = "/api/v1/key"
#: The first message after a start loads the protocol's library, on a busy machine for seconds.
ANSWER_SECONDS = 20
ACCEPT = "application/json, text/event-stream"


@dataclass(frozen=True)
class Probe:
    """What was seen: whether the site answered, whether as it should, and a sentence."""

    answered: bool
    works: bool
    message: str


class Unexpected(Exception):
    """Raised for an answer that a client could not work with."""


def probe_endpoint(url: str, key_url: str, token: str, headers: dict[str, str]) -> Probe:
    """Initialize and list the tools, as every client does, and ask what the key may do."""
    session = Session(url, headers | {"Authorization": f"Bearer {token}"})
    try:
        server, tools = session.initialize(), session.list_tools()
        key = session.describe_key(key_url)
    except urllib3.exceptions.ReadTimeoutError:
        late = f"{url} did not answer within {ANSWER_SECONDS} seconds, so the site may be busy"
        return Probe(False, False, f"{late}: repeat the command to try it again.")
    except urllib3.exceptions.HTTPError:
        return Probe(False, False, f"The site does not answer at {url}: start it, or give its address with --url.")
    except Unexpected as error:
        return Probe(True, False, f"{url} {error}.")
    offer = f"{url} answers as {server} and offers {len(tools)} tools: {', '.join(tools)}."
    return Probe(True, True, f"{offer} {key}")


class Session:
    """One conversation with an endpoint, of either kind: with a session id or without."""

    def __init__(self, url: str, headers: dict[str, str]) -> None:
        self.url = url
        self.headers = headers | {"Accept": ACCEPT, "Content-Type": "application/json"}
        self.http = urllib3.PoolManager(
            retries=False, timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
        )

    def initialize(self) -> str:
        """Return the server's name and version."""
        client = {"name": "memory-site-connect", "version": "1"}
        result = self._call("initialize", {"protocolVersion": PROTOCOL, "capabilities": {}, "clientInfo": client})
        self.headers["MCP-Protocol-Version"] = str(result.get("protocolVersion", PROTOCOL))
        self._post({"jsonrpc": "2.0", "method": "notifications/initialized"})
        info = result.get("serverInfo") or {}
        return f"{info.get('name', 'a server without a name')} {info.get('version', '')}".strip()

    def list_tools(self) -> list[str]:
        tools = self._call("tools/list", {}).get("tools")
        if not isinstance(tools, list):
            raise Unexpected("lists no tools")
        return [str(tool.get("name")) for tool in tools]

    def describe_key(self, url: str) -> str:
        """Return what the site says of the key, as a sentence."""
        response = self.http.request("GET", url, headers=self.headers, redirect=False)
        if response.status == 404:  # an earlier release, or a proxy that lets nothing through but /mcp
            return "The site does not say what the key may do."
        try:
            key = json.loads(response.data)
            return f"The key opens the namespace {key['namespace']['name']!r} and may {' and '.join(key['scopes'])}."
        except (ValueError, KeyError, TypeError):
            raise Unexpected(f"is MCP, but {url} says not what the key is (status {response.status})") from None

    def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the result of a call. Raise Unexpected, which completes a sentence that begins with the URL."""
        response = self._post({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters})
        if response.status == 401:
            raise Unexpected("refuses the key (401)")
        if response.status != 200:
            raise Unexpected(f"answers {method} with status {response.status}, so it is no MCP endpoint of a site")
        try:
            answer = parse_answer(response)
            return dict(answer["result"])
        except (ValueError, KeyError, TypeError):
            raise Unexpected(f"answers {method} with something that is not MCP") from None

    def _post(self, message: dict[str, Any]) -> urllib3.BaseHTTPResponse:
        response = self.http.request("POST", self.url, body=json.dumps(message), headers=self.headers, redirect=False)
        if session := response.headers.get("Mcp-Session-Id"):
            self.headers["Mcp-Session-Id"] = session
        return response


def parse_answer(response: urllib3.BaseHTTPResponse) -> dict[str, Any]:
    """Return the message of a JSON body, or the last one of an event stream."""
    text = response.data.decode()
    if response.headers.get("Content-Type", "").startswith("text/event-stream"):
        text = [line.removeprefix("data:") for line in text.splitlines() if line.startswith("data:")][-1]
    return json.loads(text)
