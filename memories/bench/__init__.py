"""The search bench: tries a query as a namespace, explains its hits, and keeps test searches with what they must find.

setting.py   how to search: query, mode, ranking, floor, filters
explain.py   the columns that explain a hit, and the sentence made of them
run.py       runs a setting, with the time of each stage; compares two outcomes
plan.py      the statement and its plan, without vectors
checks.py    runs the saved test searches
"""
