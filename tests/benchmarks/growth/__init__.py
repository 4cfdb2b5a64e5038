"""What operations cost as one namespace grows, among others: ten thousand, a hundred thousand, a million memories.

__main__.py  the command: one process for each size, which take turns; the tables
load.py      the rows of a size, kept in a data directory: a run that was interrupted is continued
size.py      the process of one size: a server of its own, and the figures that the command asks for
recall.py    what the index finds of the exact answer, under filters
"""
