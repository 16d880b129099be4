"""The embedded stack: Postgres from a Python wheel and every service as a process, under a small supervisor.

    launch        become a program that dies with the supervisor
    pids          a process by its id and birth, so that a recycled id is never signalled
    ports         which ports are free, and who holds one that is not
    home          the directory that a stack lives in: lock, data, logs, secrets
    logs          lines to the terminal or to files
    state         what runs, for `status` and `down`: `state.json`, written atomically
    account       whom Postgres runs as when we are root
    postgres      the cluster: made, started, recovered
    pipes         what a process writes, line by line
    child         one process kept running
    keys          the stack's own API keys
    supervisor    all of them: started in stages, drained in the reverse order
    probe         ask a health URL
    plan          which processes a stack consists of
    run           the whole way from options to a drained stack
    control       what other processes do to a stack: start it detached, stop it, look at it
    stack         the same for tests

Services are started as programs and never imported. See docs/adr/0002-embedded-stack.md.
"""
