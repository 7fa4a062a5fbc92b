"""The connection log, off by default: which device had which address when, sealed on arrival.

What a log of this kind is for, and what it must not hold: docs/connection-log.md.
"""
