"""The benchmark: what is timed, against which other side, and how the results are written.

It may import everything but the command line, which parses its options and prints its table.
"""
