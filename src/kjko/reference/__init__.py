"""Independent answers to hold a run against. They share nothing with the solver but the problem.

`known.known_law` finds the best that there is for a problem. Names are imported from the files that
they are in: a run needs few of them, and grids take long to import.
"""
