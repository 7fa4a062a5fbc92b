"""What a phone does on a network, played without any program's help."""
