"""The durable record of trials, attempts, epochs, evaluations and artefacts."""
