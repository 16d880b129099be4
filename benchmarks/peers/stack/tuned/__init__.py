"""The stack, tuned."""
