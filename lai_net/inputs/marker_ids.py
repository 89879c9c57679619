"""Marker tokens, numbered from the end of the encoder's vocabulary (`vocab_size + SUBJECT_START` ...)."""

SUBJECT_START, SUBJECT_END, PAIR_START, PAIR_END = range(4)
