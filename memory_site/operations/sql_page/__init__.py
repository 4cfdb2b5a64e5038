"""The console's page of read-only SQL. Off unless SQL_PAGE is set.

Safe is what the database refuses: a role of its own that may read listed columns and nothing else, on a connection of
its own. `SET ROLE` would not do: a statement can set the role back. All else, such as the refused words, only bounds
what a statement may cost.
"""
