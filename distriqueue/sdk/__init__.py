"""The client: submit jobs, follow them, get their results. What users need of it is in `distriqueue` itself.

    errors        what calls raise, beyond the core's tree
    exchange      one call as a plan without I/O: retries, and what an answer means
    transport     the plan driven over HTTP, blocking and not; for whoever knows the REST contract
    models        what a gateway says, typed
    sse           server-sent events out of bytes
    stream        the event stream as one that never breaks
    submission    what a caller says, checked, as JSON
    background    tasks that outlive a call
    ends          one stream per job type for all who wait for jobs of it
    session       what the parts of one client share
    handle        what a job's handle knows without asking
    mapping       one `map`
    progress      its bar
    async_job async_client     the client of one event loop
    portal job client          the same for code that blocks: an event loop in a thread

All is written once, for the event loop: a blocking client runs an asynchronous one in a thread, and only its face is
spelt out, for people and type checkers. The truth is what a GET says; the stream only says when to look. So a cut, a
gateway that is killed, an event that comes twice change nothing, and a result is never taken from an event.
"""
