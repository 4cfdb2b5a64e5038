"""The Model Context Protocol's own conformance suite against the MCP server: `make conformance`."""
