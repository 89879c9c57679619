"""The ledger's scores as tables, and tables from elsewhere as rows of a ledger."""
