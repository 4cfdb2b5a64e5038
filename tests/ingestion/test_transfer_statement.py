"""The generated INSERT of the import, as a file to read: `transfer_statement.sql` shows it for messages.

After a wanted change of the statement, write the new text into the file.
"""

from pathlib import Path

from ingestion.transfer.importer import build_insert_sql, select_columns
from ingestion.transfer.record_types import RECORD_TYPES

SNAPSHOT = Path(__file__).with_name("transfer_statement.sql")


def test_the_statement_for_messages_equals_the_snapshot():
    message = RECORD_TYPES["message"]
    columns, _ = select_columns(message, frozenset(message.columns))
    assert build_insert_sql(message, columns).strip() == SNAPSHOT.read_text().strip()
