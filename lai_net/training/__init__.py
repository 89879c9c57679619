"""Training loop, optimisation, checkpoints, and the two phases as tasks."""
