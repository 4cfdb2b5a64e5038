"""The process of one size: `python -m tests.benchmarks.growth.size ROWS`, with the rows in DATA_DIR.

It answers each line of stdin, a JSON object, with a line of JSON on stdout.
"""

import os
import signal
import sys

import django

signal.signal(signal.SIGINT, signal.SIG_DFL)  # the command says what an interruption means
os.environ["DJANGO_SETTINGS_MODULE"] = "memory_site.settings"
django.setup()

from tests.benchmarks.growth.figures import answer_requests  # noqa: E402  (the models need django.setup)

answer_requests(int(sys.argv[1]))
