"""Studies, plan, ledger and the Ray Tune driver."""
