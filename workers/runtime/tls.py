"""The TLS settings of our HTTP clients, loaded once: the certificates cost 40 ms and some megabytes each time."""

import functools
import ssl

import httpx


@functools.cache
def tls_context() -> ssl.SSLContext:
    """Return the system's usual verification, shared by the loop's client and the heartbeat's."""
    return httpx.create_ssl_context(trust_env=False)
