"""What the leader does, one file per duty, each with its own interval and batch bound.

    dispatcher    sends `pending` jobs that no gateway sent
    scheduler     makes jobs that are due `pending`, and sends them
    reaper        ends what runs on silent workers, and what runs too long
    pruner        forgets workers that ended long ago

A duty is told the epoch that it works under, and every transaction of it is fenced by that epoch. It keeps nothing that
matters: whoever leads next goes on from what Postgres says. `supervisor` runs them all, `sender` is what the first two
send by.
"""
