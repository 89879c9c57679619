"""What `lai` offers of this package."""
