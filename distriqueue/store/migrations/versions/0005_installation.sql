-- What this installation has for itself: one row.

CREATE TABLE installation (
    id             integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    -- Two random UUIDs: 244 bits of the operating system's randomness, without an extension.
    session_secret bytea NOT NULL DEFAULT decode(replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', ''), 'hex')
                   CHECK (octet_length(session_secret) = 32)
);
COMMENT ON COLUMN installation.session_secret IS 'signs browsers'' sessions; another one ends all of them';

INSERT INTO installation DEFAULT VALUES;
