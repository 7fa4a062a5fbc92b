"""The schema of this store, step by step. A released step is never edited."""

HEAD = "0002"
"""The newest step; a store that has it is up to date."""
