"""What the console's lists cost with a million memories: each list, filter, order and search, beside its SQL.

__main__.py  the command: loads the rows, draws the pages, prints the table
load.py      the rows, kept in a data directory: a run that was interrupted is continued
pages.py     the pages
"""
