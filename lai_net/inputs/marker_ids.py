"""Marker tokens, numbered in this order from the vocabulary's end (`vocab_size + SUBJECT_START` ...)."""

SUBJECT_START, SUBJECT_END, PAIR_START, PAIR_END = range(4)
