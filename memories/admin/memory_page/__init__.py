"""The page of one memory: what it says and what is known of it, to read; the form stands behind a button.

view.py           the page, its tabs and its actions
overview.py       the first tab: content and data, facts, use, origin
use.py            how often it is read, when it will be forgotten, how relevant it is
origins.py        where it came from; other apps register what they know
relationships.py  the picture and the picker
neighbours.py     the vector's facts and the nearest memories
"""
