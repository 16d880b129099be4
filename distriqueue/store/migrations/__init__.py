"""Alembic's environment: numbered SQL files, applied in order by `distriqueue migrate`."""
