"""What a study needs that the ledger lacks, why, and which models it may let go."""
