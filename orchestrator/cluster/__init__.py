"""The cluster of one, three or five nodes: who leads, and what the duties may do about it.

    leadership    the `Leadership` protocol that duties see, and its one implementation: claims epochs, hands over
    election      the election in a thread of its own, with an event loop, a port and connections of its own
    driver        the loop around the pure core: persist, fsync, send or answer, announce
    storage       term and vote on disk
    listener      messages in: `POST /raft/v1/step`
    transport     messages out, to each peer
    wire          what both put on the wire, and the signatures
    replay        each request counts once
    office        what the election's thread asks of the rest
    contacts      when each peer was heard, and what it said of itself
    membership    who votes, read from the settings
    progress      when a duty last got on

An elected node is not yet the leader: it claims its term as the epoch in Postgres, and only then its duties start. The
lease gates the start of work; what makes a stale leader harmless is the fence in Postgres. `step()` of the election
never waits for duties, heartbeats of workers or Postgres: they live in another thread. See docs/leadership.md.
"""
