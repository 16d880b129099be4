"""Front-end files that others made; see README.md beside this."""
