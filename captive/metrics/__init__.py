"""What is told about the portal to those who run it: figures for Prometheus, health, readiness.

Figures are kept where they were scraped, for weeks: what may be told, and when, stands in docs/monitoring.md.
"""
