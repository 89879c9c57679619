"""Corpora: readers, checks, label phrases, the generated corpus."""
