"""What the processes log: formats for people and for programs, and what never stands in a log.

No content, key, password, query, body, parameter of a statement, or path with its ids is logged. `errors` decides which
texts of exceptions are shown, `messages` what a message may hold, `formatters` how a line looks.
"""
