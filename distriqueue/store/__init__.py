"""Postgres, the truth.

One class per concern over one `Database` (a pool); each method is one transaction, opened inside it. Writes are named
statements in `sql/*.sql`, and reads with filters are SQLAlchemy Core. Every transition writes its event by a trigger in
the same transaction, so no caller can forget one. Times are the database's.

Rows are locked in the order of their ids: batches of several gateways touch the same jobs (a claim overtakes the mark
of its own dispatch), and would otherwise deadlock. What still collides is a transient error, and is run again.
"""
