"""The SDK's servers, one for each profile: they speak the protocol's versions and hand every question to our tools."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import mcp_types as types
from django.conf import settings
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS
from pydantic import ValidationError

from memory_site import __version__
from memory_site.mcp_server import library
from memory_site.mcp_server.answers import Answer
from memory_site.mcp_server.arguments import build_schema
from memory_site.mcp_server.faults import ToolFault, to_fault
from memory_site.mcp_server.profiles import PROFILES, Profile
from memory_site.mcp_server.run_tool import run_tool
from memory_site.mcp_server.tools.tool import Call, Tool

if TYPE_CHECKING:
    from memory_site.mcp_server.exchange import Exchange

#: Under this name the SDK's scope of a request has its exchange.
EXCHANGE = "memory_site.exchange"
NAME = "memory-site"
Context = ServerRequestContext[Any, Any]
Application = Callable[[Any, Any, Any], Awaitable[None]]
#: What was listed may be kept so long by a client that asks.
LISTS_HINT = CacheHint(ttl_ms=60_000, scope="private")
#: By loop: each has servers of its own.
_applications: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Task[Application]]] = WeakKeyDictionary()


async def get_application(profile: str) -> Application:
    """Return the ASGI application of a profile, which runs as long as the loop. Called on the event loop."""
    started = _applications.setdefault(asyncio.get_running_loop(), {})
    if profile not in started:
        started[profile] = asyncio.create_task(start(PROFILES[profile]))
    try:
        return await asyncio.shield(started[profile])  # for every request that waits for it
    except Exception:
        started.pop(profile, None)
        raise


async def start(profile: Profile) -> Application:
    manager = StreamableHTTPSessionManager(
        build_server(profile),
        json_response=True,
        stateless=True,
        max_request_body_size=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
    )
    started = asyncio.get_running_loop().create_future()
    _running.add(asyncio.create_task(run(manager, started)))
    await started
    return manager.handle_request


#: References, without which asyncio may collect a task that runs.
_running: set[asyncio.Task[None]] = set()


async def run(manager: StreamableHTTPSessionManager, started: asyncio.Future[None]) -> None:
    async with manager.run():
        started.set_result(None)
        await asyncio.get_running_loop().create_future()  # never


def build_server(profile: Profile) -> Server:
    async def list_tools(context: Context, _: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[*describe_tools(profile, get_call(context))])

    async def call_tool(context: Context, params: types.CallToolRequestParams) -> types.CallToolResult:
        exchange = get_exchange(context)
        name_operation(exchange, f"mcp.{params.name}" if params.name in profile.toolbox else "mcp")
        return await exchange.run(answer_call, exchange, profile, params)

    handlers: dict[str, Any] = {"on_list_tools": list_tools, "on_call_tool": call_tool}
    if profile.has_library:
        handlers |= LIBRARY_HANDLERS
    server: Server = Server(
        NAME,
        version=__version__,
        title=profile.title,
        instructions=profile.instructions,
        cache_hints={"tools/list": LISTS_HINT, "prompts/list": LISTS_HINT, "resources/list": LISTS_HINT},
        get_tool_input_schema=lambda name: None,  # no tool reads an argument from a header
        **handlers,
    )
    server.middleware.clear()  # the site traces each request itself
    return server


def get_exchange(context: Context) -> "Exchange":
    request: Any = context.request  # the transport's own, of Starlette
    return request.scope[EXCHANGE]


def get_call(context: Context) -> Call:
    exchange = get_exchange(context)
    return Call(exchange.request, exchange.subject)


def name_operation(exchange: "Exchange", name: str) -> None:
    """Say in metrics which tool was used: one of a fixed number of names."""
    exchange.request.operation_id = name  # type: ignore[attr-defined]


def describe_tools(profile: Profile, call: Call) -> list[types.Tool]:
    offered = [tool for tool in profile.toolbox.values() if tool.is_offered(call)]
    return [describe_tool(tool, call.subject.pinned) for tool in offered]


@cache
def describe_tool(tool: Tool, is_pinned: bool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=build_schema(tool.arguments, *(["user"] if is_pinned else [])),
        output_schema=build_schema(tool.answer),
        annotations=types.ToolAnnotations(
            title=tool.title,
            read_only_hint=not tool.writes,
            destructive_hint=tool.destroys,
            idempotent_hint=True,
            open_world_hint=False,
        ),
    )


def answer_call(exchange: "Exchange", profile: Profile, params: types.CallToolRequestParams) -> types.CallToolResult:
    """Run a tool, on the request's thread."""
    call, size = Call(exchange.request, exchange.subject), len(exchange.request.body)
    try:
        answer = run_tool(call, profile.toolbox, params.name, params.arguments or {}, size)
    except ToolFault as fault:
        return types.CallToolResult(content=[types.TextContent(text=str(fault))], is_error=True)
    return to_result(answer)


def to_result(answer: Answer) -> types.CallToolResult:
    text, data = answer.text, answer.data
    if answer.notes and not answer.is_json:
        text, data = "\n".join([text, *answer.notes]), data | {"notes": answer.notes}
    return types.CallToolResult(content=[types.TextContent(text=text)], structured_content=data)


async def list_prompts(context: Context, _: Any) -> types.ListPromptsResult:
    return types.ListPromptsResult(prompts=[describe_prompt(name) for name in library.list_prompts(get_call(context))])


def describe_prompt(name: str) -> types.Prompt:
    _, description, arguments = library.PROMPTS[name]
    return types.Prompt(
        name=name,
        description=description,
        arguments=[
            types.PromptArgument(name=each, description=meaning, required=required)
            for each, (meaning, required) in arguments.items()
        ],
    )


async def get_prompt(context: Context, params: types.GetPromptRequestParams) -> types.GetPromptResult:
    text = await run_or_raise(context, library.write_prompt, params.name, params.arguments or {})
    message = types.PromptMessage(role="user", content=types.TextContent(text=text))
    return types.GetPromptResult(description=library.PROMPTS[params.name][1], messages=[message])


async def list_resources(context: Context, _: Any) -> types.ListResourcesResult:
    return types.ListResourcesResult(
        resources=[
            types.Resource(uri=uri, name=name, description=description, mime_type=kind)
            for uri, (name, description, kind) in library.RESOURCES.items()
        ]
    )


async def list_templates(context: Context, _: Any) -> types.ListResourceTemplatesResult:
    uri, name, description, kind = library.TEMPLATE
    template = types.ResourceTemplate(uri_template=uri, name=name, description=description, mime_type=kind)
    return types.ListResourceTemplatesResult(resource_templates=[template])


async def read_resource(context: Context, params: types.ReadResourceRequestParams) -> types.ReadResourceResult:
    uri = str(params.uri)
    try:
        text, kind = await run_or_raise(context, library.read_resource, uri)
    except MCPError as error:
        raise MCPError(error.code, error.message, {"uri": uri}) from None
    return types.ReadResourceResult(contents=[types.TextResourceContents(uri=uri, text=text, mime_type=kind)])


async def complete(context: Context, params: types.CompleteRequestParams) -> types.CompleteResult:
    argument = params.argument
    values = await run_or_raise(context, library.complete, argument.name, argument.value)
    return types.CompleteResult(completion=types.Completion(values=values))


async def run_or_raise(context: Context, function: Callable[..., Any], *arguments: Any) -> Any:
    """Run a prompt or a resource on the request's thread. A refusal is an error of the protocol: no model reads it."""
    exchange = get_exchange(context)
    name_operation(exchange, f"mcp.{context.method}")
    try:
        return await exchange.run(function, get_call(context), *arguments)
    except Exception as error:
        code = INVALID_PARAMS if isinstance(error, ToolFault | ValidationError) else INTERNAL_ERROR
        raise MCPError(code, str(to_fault(error, context.method))) from None


LIBRARY_HANDLERS = {
    "on_list_prompts": list_prompts,
    "on_get_prompt": get_prompt,
    "on_list_resources": list_resources,
    "on_list_resource_templates": list_templates,
    "on_read_resource": read_resource,
    "on_completion": complete,
}
