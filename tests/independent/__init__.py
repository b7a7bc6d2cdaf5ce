"""A second decoder, written from ``docs/format.md`` alone and in plain Python: it shows that the page is complete.

It shares no code with the package, and is slow. Planes are lists of rows, pixels lists of rows of tuples.
"""
