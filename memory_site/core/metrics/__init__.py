"""What the processes of one machine count, and how one of them adds it up for `/metrics`.

`counters` names everything that is counted; `directory` has a file for each process; `totals` reads them.
"""
