"""Front-end files of our own."""
