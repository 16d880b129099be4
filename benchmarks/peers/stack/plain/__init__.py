"""The stack, as first written."""
