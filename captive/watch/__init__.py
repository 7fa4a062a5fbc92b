"""Watches the guests' networks: who plays server or gateway there, who is at two places, who floods."""
