"""`manage.py connect`: the configuration of MCP clients, written into the files of the clients."""
