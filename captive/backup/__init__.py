"""Copies of what cannot be had again: made while the portal runs, and put back while it runs."""
