"""What a study will take before it runs: counts, cost, warnings, further seeds."""
