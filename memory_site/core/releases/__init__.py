"""Which release migrated the database, and which releases may use it."""
