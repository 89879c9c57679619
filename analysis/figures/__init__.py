"""Figures: an object with the numbers is computed first, then drawn."""
