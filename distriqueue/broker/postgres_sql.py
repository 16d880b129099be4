"""The Postgres broker's statements.

One row per message, of one dispatch or several (`jobs`); `holder` is the consumer that has it, NULL while it waits. The
lease is the consumer's, not the message's, so renewing it is one update of one row however much the consumer holds.
"""

from typing import Final

from distriqueue.broker.topology import DEAD_BOUND

CHANNEL: Final = "distriqueue_dispatches"
"""The payload of a notification is the numbers of the lanes with something new: `0,3`."""

SCHEMA_LOCK: Final = 0x6469_7374_7269_7175
IS_CREATED: Final = """
SELECT to_regclass('broker.dead') IS NOT NULL AND EXISTS (
    SELECT FROM pg_attribute WHERE attrelid = to_regclass('broker.dispatches') AND attname = 'jobs' AND NOT attisdropped
)
"""
CREATE: Final = """
CREATE SCHEMA IF NOT EXISTS broker;

CREATE TABLE IF NOT EXISTS broker.consumers (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    lanes       smallint[] NOT NULL,
    lease_until timestamptz NOT NULL
) WITH (fillfactor = 50);

CREATE TABLE IF NOT EXISTS broker.dispatches (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane   smallint NOT NULL,
    body   bytea NOT NULL,
    holder bigint,
    jobs   smallint NOT NULL DEFAULT 1
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0);
-- A body is compressed or moved out of the row only when it is large; it is read once and never changed.
-- Tables of a version that sent every dispatch by itself; one that is still running goes on doing so.
ALTER TABLE broker.dispatches ADD COLUMN IF NOT EXISTS jobs smallint NOT NULL DEFAULT 1;
CREATE INDEX IF NOT EXISTS dispatches_waiting ON broker.dispatches (lane, id) WHERE holder IS NULL;
CREATE INDEX IF NOT EXISTS dispatches_held ON broker.dispatches (holder, lane) WHERE holder IS NOT NULL;

CREATE TABLE IF NOT EXISTS broker.dead (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane    smallint NOT NULL,
    body    bytea NOT NULL,
    reason  text NOT NULL,
    dead_at timestamptz NOT NULL DEFAULT now()
);
"""

# Without a live consumer of these lanes nobody listens, and a notification makes commits wait for each other.
PUBLISH: Final = f"""
WITH sent AS (
    INSERT INTO broker.dispatches (lane, body, jobs) SELECT * FROM unnest($1::smallint[], $2::bytea[], $3::smallint[])
)
SELECT pg_notify('{CHANNEL}', $4)
WHERE EXISTS (SELECT FROM broker.consumers WHERE lanes && $1::smallint[])
"""  # noqa: S608 - a constant of ours

NOTIFY: Final = f"SELECT pg_notify('{CHANNEL}', $1)"

REGISTER: Final = """
INSERT INTO broker.consumers (name, lanes, lease_until)
VALUES ($1, $2::smallint[], now() + make_interval(secs => $3)) RETURNING id
"""

# No row: the lease ran out and another consumer gave back what we held.
RENEW: Final = """
UPDATE broker.consumers SET lease_until = now() + make_interval(secs => $2) WHERE id = $1
RETURNING EXISTS (SELECT FROM broker.consumers WHERE lease_until < now()) AS others_expired
"""

# Acks and takes, for all lanes, in one round trip. `me` keeps our lease from being ended meanwhile, and takes nothing
# when it has been. The array makes the update look its rows up by id, whatever the planner believes of the table.
SETTLE_AND_TAKE: Final = """
WITH acked AS (
    DELETE FROM broker.dispatches WHERE id = ANY ($2::bigint[]) AND holder = $1
), me AS (
    SELECT id FROM broker.consumers WHERE id = $1 FOR KEY SHARE
), picked AS (
    SELECT oldest.id
    FROM me
    CROSS JOIN unnest($3::smallint[], $4::int[]) AS wanted(lane, most)
    CROSS JOIN LATERAL (
        SELECT d.id FROM broker.dispatches AS d
        WHERE d.lane = wanted.lane AND d.holder IS NULL
        ORDER BY d.id LIMIT wanted.most
        FOR UPDATE SKIP LOCKED
    ) AS oldest
)
UPDATE broker.dispatches SET holder = $1 WHERE id = ANY (ARRAY(SELECT id FROM picked))
RETURNING id, lane, body
"""
ACK: Final = "DELETE FROM broker.dispatches WHERE id = ANY ($2::bigint[]) AND holder = $1"

RELEASE: Final = "UPDATE broker.dispatches SET holder = NULL WHERE id = ANY ($2::bigint[]) AND holder = $1"

# Two statements in one transaction: the second has a snapshot of its own, and so sees what the ended consumer took
# while the first waited for it.
END_EXPIRED: Final = "DELETE FROM broker.consumers WHERE lease_until < now() RETURNING id"
END_ONE: Final = "DELETE FROM broker.consumers WHERE id = $1 RETURNING id"
RELEASE_ALL: Final = "UPDATE broker.dispatches SET holder = NULL WHERE holder = ANY ($1::bigint[]) RETURNING lane"

BURY: Final = """
WITH gone AS (
    DELETE FROM broker.dispatches WHERE id = ANY ($2::bigint[]) AND holder = $1 RETURNING id, lane, body
)
INSERT INTO broker.dead (lane, body, reason)
SELECT gone.lane, gone.body, reasons.reason
FROM gone JOIN unnest($2::bigint[], $3::text[]) AS reasons(id, reason) ON reasons.id = gone.id
"""
TRIM_DEAD: Final = f"DELETE FROM broker.dead WHERE id <= (SELECT max(id) FROM broker.dead) - {DEAD_BOUND}"  # noqa: S608

# Exact up to the bound, so that the cost does not grow with the backlog.
DEPTH_BOUND: Final = 100_000
DEPTHS: Final = f"""
SELECT l.lane,
    (SELECT coalesce(sum(waiting.jobs), 0) FROM (
        SELECT d.jobs FROM broker.dispatches AS d WHERE d.lane = l.lane AND d.holder IS NULL LIMIT {DEPTH_BOUND}
    ) AS waiting) AS ready,
    (SELECT coalesce(sum(d.jobs), 0) FROM broker.dispatches AS d
      WHERE d.lane = l.lane AND d.holder IS NOT NULL) AS unacked,
    (SELECT count(*) FROM broker.consumers AS c WHERE l.lane = ANY (c.lanes) AND c.lease_until > now()) AS consumers
FROM unnest($1::smallint[]) AS l(lane)
"""  # noqa: S608

PURGE: Final = "DELETE FROM broker.dispatches WHERE holder IS NULL"
