"""Exclusive work across transactions, processes and machines: a row that its holder renews and checks as it writes."""
