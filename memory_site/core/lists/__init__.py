"""What every list of the console can do: saved filters, chosen columns, chips of active filters, orders with a bound.

models.py   SavedFilter: filters by name, and the columns that a person chose
saved.py    reads and saves them; the addresses of a list that do
columns.py  which columns a list has
chips.py    the active filters of a list, each with the link that removes it
sorting.py  orders by any column, over a bounded number of rows
"""
