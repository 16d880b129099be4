"""Random lives of jobs over a running store, and what must hold of them, whatever is done and in whatever order.

moves     what may be done, as data that hypothesis draws
machine   which move comes next
player    makes a move concrete by what was seen, and carries it out, alone or beside another one
ground    the stores of one database, and what time does to rows
ledger    replays the log of events, and refuses a step that nothing explains
audit     compares answers and rows with the log

After each move the ledger and the audit look at everything. At the end of an example all jobs are run to their ends:
what does not end then was lost, or waits for ever.
`python -m tests.integration.lives --examples 2000` searches for long.
"""
