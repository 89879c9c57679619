"""Trials that share a GPU by the memory they were measured to need."""
