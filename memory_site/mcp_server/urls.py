"""The addresses of the Model Context Protocol, each also with a slash at its end."""

from django.urls import path

from memory_site.mcp_server.views import serve

urlpatterns = [
    *(path(f"{place}{end}", serve, {"profile": profile}) for end in ("", "/") for place, profile in (
        ("mcp", "memory"), ("mcp/graph", "graph"), ("mcp/chatgpt", "chatgpt"),
    )),
    path("mcp/users/<path:user>", serve, {"profile": "memory"}),
]  # fmt: skip
