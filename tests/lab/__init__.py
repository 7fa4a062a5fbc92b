"""The venue lab: phones, gateway and an internet as network namespaces on one machine (needs root)."""
