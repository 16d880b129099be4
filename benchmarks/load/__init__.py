"""Who submits the jobs: a process of its own for every contender, so that its cost and its clock are the same for all.

`http` posts over bare kept-alive connections, `paced` drives a library's own client, async or in threads. Both work in
one of two ways. *Closed loop*: so many callers, each of which submits as soon as its last submission was answered: for
rates. *Open loop*: arrivals at a fixed rate whatever the system does, and times count from when a submission was due,
not from when there was a caller for it: for latencies, without coordinated omission.

Bodies are encoded before the clock starts. All times are `time.monotonic_ns`, which the processes of a machine share.
"""
