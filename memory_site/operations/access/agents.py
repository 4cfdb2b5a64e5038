"""Names of browsers, from what they call themselves."""

import re

#: Each claims to be those below it, too.
BROWSERS = (
    ("Edge", r"Edg(?:e|A|iOS)?/(\d+)"),
    ("Opera", r"OPR/(\d+)"),
    ("Firefox", r"(?:Firefox|FxiOS)/(\d+)"),
    ("Chrome", r"(?:Headless)?(?:Chrome|CriOS)/(\d+)"),
    ("Safari", r"Version/(\d+)[\d.]* (?:Mobile/\S+ )?Safari"),
    ("curl", r"curl/(\d+)"),
)
SYSTEMS = (
    ("Android", "Android"),
    ("iOS", "iPhone|iPad"),
    ("Windows", "Windows"),
    ("macOS", "Macintosh"),
    ("ChromeOS", "CrOS"),
    ("Linux", "Linux|X11"),
)
UNKNOWN = "unknown program"


def describe_agent(agent: str) -> str:
    """Return "Firefox 133 on Linux"; of what is no browser its first 60 characters."""
    system = next((name for name, pattern in SYSTEMS if re.search(pattern, agent)), None)
    for name, pattern in BROWSERS:
        if found := re.search(pattern, agent):
            return f"{name} {found[1]}{f' on {system}' if system else ''}"
    return agent[:60] or UNKNOWN
