"""Checkpoints, models and features: in a shared folder or an object store."""
