"""How often the package's intervals hold what they should, and how often its tests err, on simulated data.

`study` says what a row is and when it passes; each other module has the cells of one kind of method; `page` writes
them down. The command is ``benches/calibrate.py``.
"""
