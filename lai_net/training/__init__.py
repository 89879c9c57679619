"""Training loop, random streams, checkpoints."""
