"""Ledger to statistics, tables, figures and report."""
