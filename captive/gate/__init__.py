"""The privileged process beside the portal."""
