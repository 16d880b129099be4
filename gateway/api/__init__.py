"""Routes only: each reads a request, calls one part of the gateway, and shapes the answer.

The hot routes (submit, batch, reports) are `LeanRoute`s: documented like any other, but served without FastAPI's
dependency solving and response models, which would double their cost.
"""
