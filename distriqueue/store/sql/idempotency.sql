-- Statements of distriqueue/store/idempotency.py.

-- name: lock
-- One of those who send a key at the same time gets its lock; the others are told that it is in flight.
SELECT n, pg_try_advisory_xact_lock(hashtextextended(scope || ' ' || key, 2)) AS free
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS r(scope, key, n)

-- name: kept
SELECT r.n, k.fingerprint, k.answer
  FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS r(scope, key, n)
  JOIN idempotency_keys k ON k.scope = r.scope AND k.key = r.key

-- name: keep
INSERT INTO idempotency_keys (scope, key, fingerprint, answer)
SELECT scope, key, fingerprint, CAST(answer AS json)
  FROM unnest($1::text[], $2::text[], $3::bytea[], $4::text[]) AS r(scope, key, fingerprint, answer)

-- name: forget
DELETE FROM idempotency_keys
 WHERE (scope, key) IN (SELECT scope, key FROM idempotency_keys
                         WHERE created_at < now() - make_interval(secs => $1) ORDER BY created_at LIMIT $2)
