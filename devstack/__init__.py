"""The embedded default: the three stores and the programs on one machine.

For development and tests; never part of a production image.
"""
