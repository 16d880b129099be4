"""The duties without I/O."""
