"""Thousands of joins, grants, expiries and kicks with time compressed: what is left of them afterwards."""
