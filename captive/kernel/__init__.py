"""What is asked of Linux: tables, flows, neighbours, ports, parameters."""
