"""Other job systems, set up as their users would, each tuned for this load; its package's docstring says how.

Where RabbitMQ is the broker, its queues are quorum queues and publishers wait for its confirmation, unless a docstring
says otherwise. Every task does `MarkWriter.add`. A package's `__init__` is the harness's side and imports nothing of
the library; `app` is the program's.
"""
