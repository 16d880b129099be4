"""Handlers: how they are registered, and the three that ship."""

from workers.handlers import calculate, transform, validate
from workers.handlers.registry import Registry


def default_registry() -> Registry:
    """Return a new registry with the handlers that ship: calculate, transform, validate."""
    registry = Registry()
    registry.include(calculate.registry())
    registry.include(transform.registry())
    registry.include(validate.registry())
    return registry


__all__ = ["Registry", "default_registry"]
