"""Thin routers elsewhere, which connect to this portal and carry one network of guests each."""
