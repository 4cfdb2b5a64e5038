"""The Model Context Protocol: tools, prompts and resources for agents, over the API's own operations.

The site loads `urls` and `views`. What imports the SDK (`mcp`) is loaded with the first request: it takes half a second
and some thirty megabytes.
"""
