"""One list of all that was changed and done, out of the tables that keep it. Nothing of it holds content."""
