"""Few seeds, honestly: summaries, paired deltas, sign-flip test, Holm. Pure functions of numbers."""
