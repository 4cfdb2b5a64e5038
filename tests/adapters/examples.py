"""The examples of the adapters, run as a reader runs them."""

import os
import subprocess
import sys

from tests.adapters.conftest import ROOT, Site


def run_example(name: str, site: Site) -> str:
    """Run a file of examples/ against a site. Return what it printed."""
    variables = {"MEMORY_URL": site.url, "MEMORY_KEY": site.key, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, f"examples/{name}"], cwd=ROOT, env=os.environ | variables, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
