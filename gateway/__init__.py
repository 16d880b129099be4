"""The gateway: REST in, reports in, events out. Stateless; any number of replicas.

api/          routes only: they read a request, call one of the parts below, and shape the answer
intake        new jobs: one commit for all that wait
reports       workers' reports: one commit for all that wait
publisher     dispatches to the broker, confirms in flight, then `queued` in batches
hub           the tail of the event log, fanned out to SSE clients
app           puts them together
"""
