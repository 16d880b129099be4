-- API keys and the audit log.

-- Keys are revoked and never deleted: that one was ever made is what closes the gates.
CREATE TABLE api_keys (
    id             text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    name           text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    -- SHA-256. A slow hash is for secrets that can be guessed; this one is of 256 random bits, and every request pays for it.
    secret_hash    bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    scopes         text[] NOT NULL
                   CHECK (cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'submit', 'operate', 'worker', 'admin']),
    requests_per_s float8 CHECK (requests_per_s > 0 AND requests_per_s <= 1e9),
    -- An embedded stack's own: it counts when it is shown, but closes no gate.
    internal       boolean NOT NULL DEFAULT false,
    created_at     timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz,
    revoked_at     timestamptz,
    last_used_at   timestamptz
);

-- What was ordered, written before it was done.
CREATE TABLE audit_log (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at      timestamptz NOT NULL DEFAULT now(),
    key_id  text,
    actor   text NOT NULL,
    action  text NOT NULL,
    target  text NOT NULL,
    details json NOT NULL DEFAULT '{}',
    address text
);
