"""The orchestrator: does what nobody asks for, and knows which workers live.

    app          composes a node
    cluster/     who leads; the duties see only its `Leadership` protocol
    duties/      what the leader does, one file each, every transaction fenced by the leader's epoch
    registry     heartbeats in memory, recorded together every half second, on any node
    api          the routes; `heartbeats` answers the hot one in front of them
    raft/        the pure election core

A node keeps nothing that matters: all that a duty needs is in Postgres, so any node can go on where another stopped.
"""
