"""The pure heart: jobs, states, messages, retries, errors and ports; no I/O, no clock of its own.

Everything here can be used, and tested, without a server. Adapters (`store`, `broker`) depend on it, never the reverse.
"""
