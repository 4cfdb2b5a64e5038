"""What the hooks of Claude Code do. Standard library only, Python 3.9 or newer, and quick to import."""
