"""A seeded simulation of the election and the fence: `python -m tests.simulation --seed 1234` replays a seed.

One seed is one world: 1 to 5 nodes with their disks and clocks, the network, and the leadership row of Postgres. It is
disturbed for some seconds, then healed; the invariants are checked after every step. Nothing reads a real clock, so
a seed always runs the same.
"""
