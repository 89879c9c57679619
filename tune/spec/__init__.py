"""A study as it is written: its file, cells and the identity of their trials."""
