"""What the leader does, one file per duty, each with its own interval and batch bound.

    dispatcher    sends `pending` jobs that no gateway sent
    scheduler     makes jobs that are due `pending`, and sends them
    cron          makes the jobs of cron schedules, and sends them
    reaper        ends what runs on silent workers, and what runs too long
    reconciler    sends again what the broker lost
    statistics    sums the event log up
    retention     forgets old events, jobs and figures
    pruner        forgets workers that ended long ago
    lanes         looks at depths and ages, for the metrics

A duty is told the epoch that it works under, and every transaction of it is fenced by that epoch. It keeps nothing that
matters: whoever leads next goes on from what Postgres says. `supervisor` runs them all, `sender` is what they
send by; docs/duties.md is for operators.
"""
