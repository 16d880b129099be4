"""The orchestrator without I/O: fakes stand for the store and the broker."""
