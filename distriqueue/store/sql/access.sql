-- Statements of distriqueue/store/access.py: API keys, and who did what.

-- name: load
-- One statement, so one instant: the keys that count now, and whether any was ever made. The answer always has a row.
SELECT ever.made, k.id, k.name, k.secret_hash, k.scopes, k.requests_per_s,
       extract(epoch FROM k.expires_at - now())::float8 AS expires_in_s
  FROM (SELECT EXISTS (SELECT 1 FROM api_keys WHERE NOT internal) AS made) AS ever
  LEFT JOIN api_keys k ON k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())

-- name: create
INSERT INTO api_keys (id, name, secret_hash, scopes, requests_per_s, internal, expires_at)
SELECT $1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7)
 WHERE (SELECT count(*) FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())) < $8
RETURNING *, coalesce(expires_at <= now(), false) AS expired

-- name: live
SELECT id, name, secret_hash, scopes
  FROM api_keys
 WHERE id = $1 AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())

-- name: all
SELECT *, coalesce(expires_at <= now(), false) AS expired
  FROM api_keys
 WHERE $1 OR (revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()))
 ORDER BY created_at DESC, id
 LIMIT $2

-- name: revoke
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1
RETURNING *, coalesce(expires_at <= now(), false) AS expired

-- name: session_secret
SELECT session_secret FROM installation

-- name: touch
-- Every process writes what it saw: whoever comes second finds it done, and nobody waits for anybody.
UPDATE api_keys k SET last_used_at = now()
  FROM (SELECT id FROM api_keys
         WHERE id = ANY($1::text[]) AND (last_used_at IS NULL OR last_used_at < now() - make_interval(secs => $2))
         ORDER BY id
           FOR UPDATE SKIP LOCKED) AS used
 WHERE k.id = used.id

-- name: append
INSERT INTO audit_log (key_id, actor, action, target, details, address) VALUES ($1, $2, $3, $4, $5, $6)

-- name: page
SELECT id, at, key_id, actor, action, target, details, address
  FROM audit_log
 WHERE $1::bigint IS NULL OR id < $1
 ORDER BY id DESC
 LIMIT $2

-- name: prune
-- Looks at the $2 oldest only, which is what bounds it: there is no index on the time, and ids follow it.
DELETE FROM audit_log
 WHERE id IN (SELECT id
                FROM (SELECT id, at FROM audit_log ORDER BY id LIMIT $2) AS oldest
               WHERE at < now() - make_interval(secs => $1))
