"""Search: Optuna suggests configs, ASHA stops them, a decision log in the ledger remembers and replays."""
