"""Confirmation of a deletion: on the terminal, or by a number of rows in a script."""

import sys
from argparse import ArgumentParser

from django.core.management.base import CommandError

from sessions_app.commands import EXIT_FAILED, EXIT_USAGE_ERROR

NOT_INTERACTIVE_MESSAGE = "There is no terminal to ask on. Use --yes-delete {:,}."


def add_confirmation_argument(parser: ArgumentParser) -> None:
    parser.add_argument("--yes-delete", type=int, metavar="N", help="do not ask; delete if exactly N rows match")


def confirm_deletion(description: str, answer: str, total: int, yes_delete: int | None) -> None:
    """Have the answer, which the description names, typed on the terminal, or compare with --yes-delete. Raises
    CommandError unless the deletion is confirmed."""
    if yes_delete is None and not sys.stdin.isatty():
        raise CommandError(NOT_INTERACTIVE_MESSAGE.format(total), returncode=EXIT_USAGE_ERROR)
    if yes_delete is None and prompt_user(f"Type {description}, to delete these {total:,} rows: ") != answer:
        raise CommandError("Nothing was deleted.", returncode=EXIT_FAILED)
    if yes_delete not in (None, total):
        raise CommandError(f"{total:,} rows match, not {yes_delete:,}. Nothing was deleted.", returncode=EXIT_FAILED)


def prompt_user(question: str) -> str:
    """Return the answer; an empty string at the end of the input."""
    try:
        return input(question)
    except (EOFError, KeyboardInterrupt):
        return ""
