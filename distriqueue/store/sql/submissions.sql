-- Statements of distriqueue/store/submissions.py.

-- name: insert_with_extras
-- What waits for parents or a slot is `blocked` first; follow_up and admit, in the same transaction, say what it waits for.
INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, due_at, batch_id, tags, metadata, payload,
                  retry_policy, expires_at, unique_key, concurrency_key, concurrency_limit, callback_url, waits_for,
                  has_parents, followed, trace)
SELECT id, type, priority,
       CASE WHEN parents > 0 THEN 'blocked' WHEN due_at > now() THEN 'scheduled'
            WHEN concurrency_key IS NOT NULL THEN 'blocked' ELSE 'pending' END,
       max_retries, execution_timeout_s, due_at, batch_id, CAST(tags AS text[]), CAST(metadata AS json), CAST(payload AS json),
       CAST(retry_policy AS json),
       least(expires_at, greatest(due_at, now()) + make_interval(secs => queue_timeout_s)),
       unique_key, concurrency_key, concurrency_limit, callback_url, parents, parents > 0,
       followed OR concurrency_key IS NOT NULL OR callback_url IS NOT NULL, trace
  FROM unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::float8[], $6::timestamptz[], $7::uuid[],
              $8::text[], $9::text[], $10::text[], $11::text[], $12::timestamptz[], $13::float8[], $14::text[], $15::text[],
              $16::int[], $17::text[], $18::int[], $19::bool[], $20::text[])
       AS r(id, type, priority, max_retries, execution_timeout_s, due_at, batch_id, tags, metadata, payload,
            retry_policy, expires_at, queue_timeout_s, unique_key, concurrency_key, concurrency_limit, callback_url, parents,
            followed, trace)
    ON CONFLICT DO NOTHING
RETURNING id, created_at, status

-- name: insert_edges
INSERT INTO dependencies (child_id, parent_id, place, needed)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int[], $4::bool[])

-- name: lock_parents
-- Against their end, until the children are there.
SELECT id, finished_at IS NOT NULL AS ended FROM jobs WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: follow_parents
UPDATE jobs SET followed = true WHERE id = ANY ($1::uuid[]) AND NOT followed

-- name: taken_ids
SELECT id FROM jobs WHERE id = ANY ($1::uuid[])

-- name: taken_keys
SELECT unique_key, id, created_at, status FROM jobs WHERE unique_key = ANY ($1::text[]) AND finished_at IS NULL
