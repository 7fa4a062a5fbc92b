"""The schema of this store, step by step. A released step is never edited."""
