"""Webhooks on their way out: signed, to checked addresses, in bounded time.

    signing     Standard Webhooks 1.0: id, timestamp and body, HMAC-SHA256 by every current secret
    addresses   which addresses are public, and what is allowed besides
    delivery    one POST: resolve, check, connect to what was checked, read a bounded answer
    errors      how a delivery fails, in the words of a handler

The handler of the job type `distriqueue.webhook` is `workers.handlers.webhook`; why webhooks are jobs is in
`docs/adr/0012-webhooks-are-jobs.md`.
"""
