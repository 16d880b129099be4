-- The whole life of a job: deadlines, retry policies, keys, graphs, batches, limits, webhooks, dead letters.

ALTER TABLE jobs
    ADD COLUMN retry_policy      json,
    ADD COLUMN expires_at        timestamptz,
    ADD COLUMN unique_key        text CHECK (length(unique_key) BETWEEN 1 AND 200),
    ADD COLUMN concurrency_key   text CHECK (length(concurrency_key) BETWEEN 1 AND 200),
    ADD COLUMN concurrency_limit integer CHECK (concurrency_limit BETWEEN 1 AND 1000),
    ADD COLUMN rate_slot         timestamptz,
    ADD COLUMN waits_for         integer NOT NULL DEFAULT 0 CHECK (waits_for >= 0),
    ADD COLUMN has_parents       boolean NOT NULL DEFAULT false,
    ADD COLUMN followed          boolean NOT NULL DEFAULT false,
    ADD COLUMN callback_url      text,
    ADD COLUMN progress_message  text,
    ADD COLUMN fingerprint       text,
    ADD CONSTRAINT a_concurrency_key_has_a_limit CHECK ((concurrency_key IS NULL) = (concurrency_limit IS NULL)),
    ADD CONSTRAINT who_waits_for_parents_is_not_ready CHECK (waits_for = 0 OR status IN ('blocked', 'cancelled', 'timeout')),
    ADD CONSTRAINT expiry_is_of_what_has_not_started CHECK (expires_at IS NULL OR status <> 'running');

COMMENT ON COLUMN jobs.retry_policy IS '{"base", "factor", "cap", "jitter"}; NULL: the default';
COMMENT ON COLUMN jobs.expires_at IS 'not started by then, it ends as timeout; NULL once it has started';
COMMENT ON COLUMN jobs.unique_key IS 'no other job with it is unfinished';
COMMENT ON COLUMN jobs.rate_slot IS 'refused by its type''s rate limit, it may start from then on; NULL once it has';
COMMENT ON COLUMN jobs.waits_for IS 'parents that have not ended';
COMMENT ON COLUMN jobs.followed IS 'something may follow from its end, or from its leaving a slot: children, a slot, a batch, a webhook';
COMMENT ON COLUMN jobs.fingerprint IS 'failed and timed out jobs with the same one failed alike';

CREATE UNIQUE INDEX jobs_unique ON jobs (unique_key) WHERE unique_key IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_expiring ON jobs (expires_at) WHERE expires_at IS NOT NULL AND finished_at IS NULL;          -- expirer
-- Who holds a slot is a matter of its status, so that none can leak; who waits for one stands in line by priority.
CREATE INDEX jobs_slots ON jobs (concurrency_key)
    WHERE concurrency_key IS NOT NULL AND status IN ('pending', 'queued', 'running');                          -- admit
CREATE INDEX jobs_in_line ON jobs (concurrency_key, (array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], priority)),
                                   ready_at, id)
    WHERE concurrency_key IS NOT NULL AND status = 'blocked' AND waits_for = 0;                                -- admit
CREATE INDEX jobs_dead ON jobs (finished_at) INCLUDE (id, type, fingerprint)
    WHERE status IN ('failed', 'timeout');      -- dead letters
CREATE INDEX jobs_alike ON jobs (fingerprint, finished_at) WHERE status IN ('failed', 'timeout');              -- replay

-- The legal steps, generated from distriqueue/core/states.py and tested against it.
DROP TRIGGER jobs_transition ON jobs;
CREATE TRIGGER jobs_transition BEFORE UPDATE OF status ON jobs FOR EACH ROW
WHEN (OLD.status <> NEW.status AND OLD.status || '>' || NEW.status <> ALL (ARRAY[
    'scheduled>pending', 'scheduled>blocked', 'scheduled>timeout', 'scheduled>cancelled',
    'blocked>pending', 'blocked>scheduled', 'blocked>timeout', 'blocked>cancelled',
    'pending>queued', 'pending>running', 'pending>timeout', 'pending>cancelled',
    'queued>running', 'queued>pending', 'queued>timeout', 'queued>cancelled',
    'running>completed', 'running>failed', 'running>timeout', 'running>retrying', 'running>cancelled', 'running>pending',
    'retrying>pending', 'retrying>blocked', 'retrying>cancelled',
    'failed>pending', 'timeout>pending', 'cancelled>pending',
    'failed>blocked', 'timeout>blocked', 'cancelled>blocked']))
EXECUTE FUNCTION refuse_transition();

-- How long to wait before retry number `failures` (0 is the first): see distriqueue/core/retry.py.
DROP FUNCTION retry_delay(integer);
CREATE FUNCTION retry_delay(failures integer, policy json) RETURNS interval LANGUAGE sql VOLATILE AS $$
    SELECT make_interval(secs => least(cap, base * factor ^ least(failures, 60))
                                 * CASE WHEN jitter THEN 0.5 + random() / 2 ELSE 1 END)
      FROM (SELECT coalesce((policy->>'base')::float8, 2) AS base, coalesce((policy->>'factor')::float8, 2) AS factor,
                   coalesce((policy->>'cap')::float8, 600) AS cap, coalesce((policy->>'jitter')::bool, true) AS jitter) AS p
$$;

-- Failures alike: by type, kind of error, and message without its numbers, ids and quoted words.
CREATE FUNCTION fingerprint(type text, error json) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT left(md5(concat_ws(E'\n', type, error->>'type',
                regexp_replace(left(error->>'message', 500),
                    '[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|0x[0-9a-fA-F]+|[0-9]+([.][0-9]+)?|''[^'']*''|"[^"]*"', '#', 'g'))), 16)
$$;

UPDATE jobs SET fingerprint = fingerprint(type, error) WHERE status IN ('failed', 'timeout');

-- A UUIDv7 (RFC 9562 §5.7), as distriqueue/core/job.py makes them.
CREATE FUNCTION new_job_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
               substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
               52, 1), 53, 1), 'hex')::uuid
$$;

ALTER TABLE events ADD COLUMN message text;
COMMENT ON COLUMN events.message IS 'what the handler said of its progress';

CREATE OR REPLACE FUNCTION record_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (job_id, attempt, status, was, type, priority, worker_id, progress, message, took_ms, batch_id, created_at)
    SELECT n.id, n.attempt, n.status, o.status, n.type, n.priority, n.worker_id, n.progress,
           CASE WHEN n.status = 'running' THEN n.progress_message END,
           CASE WHEN n.status = o.status THEN NULL
                WHEN n.status = 'running' THEN 1000 * extract(epoch FROM n.started_at - n.ready_at)
                WHEN o.status = 'running' THEN 1000 * extract(epoch FROM now() - o.started_at) END,
           n.batch_id, n.created_at
      FROM after n JOIN before o ON o.id = n.id
     WHERE n.status <> o.status
        OR n.progress IS NOT NULL AND (n.progress, n.progress_message) IS DISTINCT FROM (o.progress, o.progress_message);
    IF FOUND THEN PERFORM pg_notify('distriqueue_events', ''); END IF;
    RETURN NULL;
END $$;

-- Who waits for whom. An edge is resolved once, by its parent's first end.
CREATE TABLE dependencies (
    parent_id uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    child_id  uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    place     integer NOT NULL,
    needed    boolean NOT NULL,
    resolved  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (child_id, parent_id)
);
COMMENT ON COLUMN dependencies.place IS 'in the order in which the child named its parents';
COMMENT ON COLUMN dependencies.needed IS 'unless the parent completes, the child is cancelled';
CREATE INDEX dependencies_parent ON dependencies (parent_id, child_id);                                        -- follow_up

CREATE TABLE batches (
    id              uuid PRIMARY KEY,
    name            text CHECK (length(name) BETWEEN 1 AND 200),
    jobs            integer NOT NULL,
    sequential      boolean NOT NULL DEFAULT false,
    stop_on_failure boolean NOT NULL DEFAULT false,
    max_concurrent  integer,
    callback_url    text,
    stopped         boolean NOT NULL DEFAULT false,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz
);
COMMENT ON COLUMN batches.stopped IS 'a job failed, and none is to start any more';
COMMENT ON COLUMN batches.finished_at IS 'when all had ended for the first time; kept of batches with a callback';

-- What a client sent once, and what it was told.
CREATE TABLE idempotency_keys (
    scope       text NOT NULL,
    key         text NOT NULL,
    fingerprint bytea NOT NULL,
    answer      json NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (scope, key)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_at);                                            -- retention

-- At most `permits` starts per `per_s` seconds of jobs of a type: a token bucket. Whoever finds it empty is told at which moment
-- there will be a token for it (`rate_slot`), and comes again then.
CREATE TABLE rate_limits (
    type       text PRIMARY KEY CHECK (length(type) BETWEEN 1 AND 200),
    permits    integer NOT NULL CHECK (permits BETWEEN 1 AND 1000000),
    per_s      double precision NOT NULL CHECK (per_s > 0),
    tokens     double precision NOT NULL,
    filled_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    next_slot  timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN rate_limits.next_slot IS 'the last slot given away: a line that is too long to be looked at goes on there';
CREATE INDEX jobs_throttled ON jobs (type, rate_slot, id) WHERE rate_slot IS NOT NULL AND finished_at IS NULL;  -- throttle

-- Take tokens for claims; return the numbers of those that must come again, which are put back. First come those who have a
-- slot, the oldest job first, whether or not they are among these claims: who is due has its token kept for GRACE, and a
-- newcomer gets one only if none who waits will miss it. The place in line is by age, which no refusal changes, so whoever
-- comes at its slot is refused again only when tokens were lost meanwhile, the bucket being full. The dispatcher leaves a job
-- alone for a second from `ready_at` on, hence `ready_at` is that much earlier than the slot.
CREATE FUNCTION throttle(ids uuid[], attempts integer[]) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
    GRACE      CONSTANT interval := '5 s';
    LOOK_AHEAD CONSTANT integer := 1000;
    bucket     rate_limits;
    at         timestamptz;
    filled     double precision;
    pace_s     double precision;
    passed     integer;
    refused    uuid[];
    last_slot  timestamptz;
BEGIN
    FOR bucket IN
        SELECT * FROM rate_limits l
         WHERE l.type IN (SELECT j.type FROM jobs j WHERE j.id = ANY (ids)) ORDER BY l.type FOR UPDATE
    LOOP
        at := clock_timestamp();
        pace_s := bucket.per_s / bucket.permits;
        filled := least(bucket.permits, bucket.tokens + greatest(0, extract(epoch FROM at - bucket.filled_at)) / pace_s);
        WITH claim AS MATERIALIZED (  -- locked by id, as everyone locks jobs
            SELECT j.id, j.created_at, j.rate_slot
              FROM jobs j
             WHERE (j.id, j.attempt) IN (SELECT * FROM unnest(ids, attempts)) AND j.type = bucket.type
               AND j.status || '' IN ('pending', 'queued') AND (j.expires_at IS NULL OR j.expires_at > now())
             ORDER BY j.id FOR NO KEY UPDATE
        ), line AS MATERIALIZED (
            SELECT j.id, j.created_at, j.rate_slot
              FROM jobs j
             WHERE j.type = bucket.type AND j.rate_slot > at - GRACE AND j.finished_at IS NULL
               AND j.id NOT IN (SELECT claim.id FROM claim)
             ORDER BY j.rate_slot, j.id
             LIMIT LOOK_AHEAD
        ), seen AS (
            SELECT count(*) = LOOK_AHEAD AS is_long, min(line.rate_slot) FILTER (WHERE line.rate_slot > at) AS next_due FROM line
        ), placed AS (
            SELECT each.*, row_number() OVER by_age AS place,
                   count(*) FILTER (WHERE each.is_claim OR each.is_due) OVER by_age AS turn
              FROM (SELECT claim.*, true AS is_claim, coalesce(claim.rate_slot <= at, false) AS is_due FROM claim
                    UNION ALL
                    SELECT line.*, false, line.rate_slot <= at FROM line) AS each
            WINDOW by_age AS (ORDER BY each.rate_slot IS NULL, each.created_at, each.id ROWS UNBOUNDED PRECEDING)
        ), judged AS (
            SELECT placed.*, seen.is_long,
                   placed.turn <= floor(filled)
                   AND (placed.is_due OR seen.next_due IS NULL
                        OR filled - placed.turn + extract(epoch FROM seen.next_due - at) / pace_s >= 1) AS passes
              FROM placed CROSS JOIN seen WHERE placed.is_claim
        ), again AS (
            SELECT judged.id,
                   CASE WHEN judged.rate_slot > at THEN judged.rate_slot
                        WHEN judged.rate_slot IS NULL AND judged.is_long
                        THEN greatest(bucket.next_slot, at) + make_interval(secs => pace_s
                             * row_number() OVER (PARTITION BY judged.rate_slot IS NULL ORDER BY judged.place))
                        ELSE at + make_interval(secs => pace_s * (judged.place - filled)) END AS slot
              FROM judged WHERE NOT judged.passes
        ), put_back AS (
            UPDATE jobs j
               SET status = 'pending', queued_at = NULL, rate_slot = again.slot, ready_at = again.slot - interval '1 s'
              FROM again WHERE j.id = again.id AND j.status || '' IN ('pending', 'queued')
            RETURNING j.id, j.rate_slot
        )
        SELECT (SELECT count(*) FROM judged WHERE judged.passes), ARRAY (SELECT put_back.id FROM put_back),
               greatest((SELECT max(put_back.rate_slot) FROM put_back), (SELECT max(line.rate_slot) FROM line),
                        CASE WHEN seen.is_long THEN bucket.next_slot END, at)
          INTO passed, refused, last_slot
          FROM seen;
        RETURN QUERY
        SELECT r.n FROM unnest(ids, attempts) WITH ORDINALITY AS r(id, attempt, n) JOIN jobs j ON j.id = r.id AND j.attempt = r.attempt
         WHERE r.id = ANY (refused);
        UPDATE rate_limits l
           SET tokens = filled - passed, filled_at = at, next_slot = last_slot
         WHERE l.type = bucket.type;
    END LOOP;
END $$;

-- Give free slots of concurrency keys to the first in line; return who is pending now. A key is locked until the commit, and
-- its slots are counted after that, so that no two transactions give away the same one.
CREATE FUNCTION admit(keys text[]) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
DECLARE
    each text;
    held integer;
    most integer;
BEGIN
    PERFORM pg_advisory_xact_lock(x) FROM (SELECT DISTINCT hashtextextended(k, 1) AS x FROM unnest(keys) AS k ORDER BY 1) AS sorted;
    FOR each IN SELECT DISTINCT k FROM unnest(keys) AS k WHERE k IS NOT NULL LOOP
        SELECT count(*) INTO held FROM jobs
         WHERE concurrency_key = each AND status IN ('pending', 'queued', 'running');
        SELECT max(head.concurrency_limit) INTO most
          FROM (SELECT concurrency_limit FROM jobs
                 WHERE concurrency_key = each AND status = 'blocked' AND waits_for = 0
                 ORDER BY array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], priority), ready_at, id
                 LIMIT 10) AS head;
        CONTINUE WHEN most IS NULL OR held >= most;
        RETURN QUERY
        WITH in_line AS (
            SELECT id, concurrency_limit FROM jobs
             WHERE concurrency_key = each AND status = 'blocked' AND waits_for = 0
             ORDER BY array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], priority), ready_at, id
             LIMIT most - held
               FOR UPDATE SKIP LOCKED
        ), admitted AS (
            SELECT id FROM (SELECT id, concurrency_limit, row_number() OVER () AS place FROM in_line) AS placed
             WHERE held + place <= concurrency_limit
        )
        UPDATE jobs j SET status = 'pending', ready_at = greatest(j.ready_at, now())
          FROM admitted WHERE j.id = admitted.id
        RETURNING j.id;
    END LOOP;
END $$;

-- Jobs whose children follow_up left for later, because there were many: the follower goes on with them.
CREATE TABLE follow_ups (
    job_id uuid PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE
);

-- A webhook is a job like any other. Its id, and with it the receiver's key against duplicates, is one per end.
CREATE FUNCTION call_back(url text, lane text, event text, data json) RETURNS uuid LANGUAGE sql VOLATILE AS $$
    INSERT INTO jobs (id, type, priority, status, max_retries, execution_timeout_s, retry_policy, payload)
    SELECT id, 'distriqueue.webhook', lane, 'pending', 8, 30, '{"base": 5, "factor": 4, "cap": 14400, "jitter": true}',
           json_build_object('url', url, 'id', 'msg_' || replace(id::text, '-', ''), 'body', json_build_object(
               'type', event, 'timestamp', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'data', data))
      FROM (SELECT new_job_id() AS id) AS new
    RETURNING id
$$;

CREATE FUNCTION call_back_for_jobs(ended uuid[]) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
DECLARE
    job jobs;
    webhook uuid;
BEGIN
    FOR job IN SELECT * FROM jobs WHERE id = ANY (ended) AND callback_url IS NOT NULL AND finished_at IS NOT NULL LOOP
        webhook := call_back(job.callback_url, job.priority, 'job.' || job.status, json_build_object(
            'jobId', job.id, 'type', job.type, 'status', job.status, 'attempt', job.attempt, 'batchId', job.batch_id,
            'result', CASE WHEN octet_length(job.result::text) <= 65536 THEN job.result END,
            'error', CASE WHEN job.error IS NOT NULL THEN
                         json_build_object('type', job.error->'type', 'message', job.error->'message') END,
            'createdAt', to_char(job.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
            'finishedAt', to_char(job.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')));
        INSERT INTO dependencies (parent_id, child_id, place, needed, resolved) VALUES (job.id, webhook, 0, false, true);
        RETURN NEXT webhook;
    END LOOP;
END $$;

CREATE TABLE batch_webhooks (
    batch_id   uuid NOT NULL REFERENCES batches (id) ON DELETE CASCADE,
    webhook_id uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    PRIMARY KEY (batch_id, webhook_id)
);
CREATE INDEX batch_webhooks_webhook ON batch_webhooks (webhook_id);

-- Batches that stop at a failure or call back: return which of their jobs were cancelled, and webhooks.
CREATE FUNCTION follow_up_batches(ended uuid[], OUT id uuid, OUT cancelled boolean) RETURNS SETOF record LANGUAGE plpgsql AS $$
DECLARE
    batch batches;
    counts json;
BEGIN
    FOR batch IN
        SELECT b.* FROM batches b
         WHERE b.id IN (SELECT j.batch_id FROM jobs j WHERE j.id = ANY (ended) AND j.batch_id IS NOT NULL)
           AND (b.stop_on_failure OR b.callback_url IS NOT NULL)
         ORDER BY b.id FOR UPDATE  -- one ender at a time: the last one sees that it is the last
    LOOP
        IF batch.stopped OR batch.stop_on_failure AND EXISTS (
            SELECT FROM jobs j WHERE j.id = ANY (ended) AND j.batch_id = batch.id AND j.status IN ('failed', 'timeout'))
        THEN
            UPDATE batches b SET stopped = true WHERE b.id = batch.id;
            cancelled := true;
            FOR id IN
                WITH waiting AS (
                    SELECT j.id FROM jobs j
                     WHERE j.batch_id = batch.id AND j.status IN ('scheduled', 'blocked', 'pending', 'queued', 'retrying')
                     ORDER BY j.id FOR UPDATE)
                UPDATE jobs j SET status = 'cancelled', finished_at = now(), error = json_build_object('type', 'BatchStopped',
                           'message', format('another job of the batch %s failed, and it stops on failure', batch.id))
                  FROM waiting
                 WHERE j.id = waiting.id AND j.status IN ('scheduled', 'blocked', 'pending', 'queued', 'retrying')
                RETURNING j.id
            LOOP
                RETURN NEXT;
            END LOOP;
        END IF;
        IF batch.callback_url IS NOT NULL AND batch.finished_at IS NULL
            AND NOT EXISTS (SELECT FROM jobs j WHERE j.batch_id = batch.id AND j.finished_at IS NULL)
        THEN
            UPDATE batches b SET finished_at = now() WHERE b.id = batch.id;
            SELECT json_object_agg(s.status, s.n) INTO counts
              FROM (SELECT j.status, count(*) AS n FROM jobs j WHERE j.batch_id = batch.id GROUP BY j.status) AS s;
            cancelled := false;
            id := call_back(batch.callback_url, 'MEDIUM', 'batch.finished', json_build_object(
                'batchId', batch.id, 'batchName', batch.name, 'totalJobs', batch.jobs, 'byStatus', counts,
                'createdAt', to_char(batch.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
                'finishedAt', to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')));
            INSERT INTO batch_webhooks (batch_id, webhook_id) VALUES (batch.id, id);
            RETURN NEXT;
        END IF;
    END LOOP;
END $$;

-- What follows from ends of jobs, and of attempts that held a slot, in their transaction: children go on or are cancelled,
-- whole lines of them, batches stop, webhooks are made, slots are given on. Returns who is pending now. A bounded amount at
-- once, so that no report waits for long: what is left goes to follow_ups.
CREATE FUNCTION follow_up(ended uuid[], children_only boolean DEFAULT false) RETURNS SETOF uuid LANGUAGE plpgsql AS $$
DECLARE
    MAX_ROUNDS CONSTANT integer := 20;
    MAX_EDGES CONSTANT integer := 500;
    each    record;
    this    uuid[] := ended;
    next    uuid[];
    keys    text[] := '{}';
    edges   integer;
    rounds  integer := 0;
BEGIN
    WHILE cardinality(this) > 0 LOOP
        rounds := rounds + 1;
        next := '{}';
        edges := 0;
        IF NOT (children_only AND rounds = 1) THEN
            keys := keys || ARRAY (SELECT DISTINCT concurrency_key FROM jobs WHERE id = ANY (this) AND concurrency_key IS NOT NULL);
            RETURN QUERY SELECT call_back_for_jobs(this);
            FOR each IN SELECT * FROM follow_up_batches(this) LOOP
                IF each.cancelled THEN next := next || each.id; ELSE RETURN NEXT each.id; END IF;
            END LOOP;
        END IF;
        IF rounds > MAX_ROUNDS THEN
            -- Only the children can wait: by then a client may have made the job run again, and its end would be forgotten.
            INSERT INTO follow_ups (job_id) SELECT id FROM unnest(this) AS id ON CONFLICT (job_id) DO NOTHING;
            this := next;  -- what batches have cancelled, which ends here, for each stops once
            CONTINUE;
        END IF;
        FOR each IN
            WITH edge AS (
                SELECT d.parent_id, d.child_id, d.needed AND p.status <> 'completed' AS breaks, p.status
                  FROM dependencies d JOIN jobs p ON p.id = d.parent_id
                 WHERE d.parent_id = ANY (this) AND NOT d.resolved AND p.finished_at IS NOT NULL
                 ORDER BY d.child_id, d.parent_id
                 LIMIT MAX_EDGES
                   FOR UPDATE OF d
            ), resolved AS (
                UPDATE dependencies d SET resolved = true
                  FROM edge WHERE d.child_id = edge.child_id AND d.parent_id = edge.parent_id AND NOT d.resolved
                RETURNING d.child_id, d.parent_id, edge.breaks, edge.status
            ), child AS (
                SELECT child_id AS id, count(*)::int AS ends,
                       (array_agg(format('its parent %s ended as %s', parent_id, status) ORDER BY parent_id) FILTER (WHERE breaks))[1]
                           AS broken
                  FROM resolved GROUP BY child_id
            ), locked AS (
                SELECT j.id, j.status AS was FROM jobs j WHERE j.id IN (SELECT id FROM child) ORDER BY j.id FOR UPDATE
            )
            UPDATE jobs j
               SET waits_for = j.waits_for - child.ends,
                   status = CASE WHEN j.status <> 'blocked' THEN j.status
                                 WHEN child.broken IS NOT NULL THEN 'cancelled'
                                 WHEN j.waits_for > child.ends THEN 'blocked'
                                 WHEN j.due_at > now() THEN 'scheduled'
                                 WHEN j.concurrency_key IS NOT NULL THEN 'blocked'
                                 ELSE 'pending' END,
                   finished_at = CASE WHEN j.status = 'blocked' AND child.broken IS NOT NULL THEN now() ELSE j.finished_at END,
                   error = CASE WHEN j.status = 'blocked' AND child.broken IS NOT NULL
                                THEN json_build_object('type', 'ParentFailed', 'message', child.broken) ELSE j.error END,
                   ready_at = CASE WHEN j.status = 'blocked' THEN now() ELSE j.ready_at END
              FROM child JOIN locked ON locked.id = child.id
             WHERE j.id = child.id
            RETURNING j.id, j.status, j.waits_for, j.followed, j.concurrency_key, locked.was, child.ends
        LOOP
            edges := edges + each.ends;
            IF each.was <> 'blocked' THEN
                NULL;  -- cancelled or expired before
            ELSIF each.status = 'cancelled' AND each.followed THEN
                next := next || each.id;
            ELSIF each.status = 'pending' THEN
                RETURN NEXT each.id;
            ELSIF each.status = 'blocked' AND each.waits_for = 0 THEN
                keys := keys || each.concurrency_key;
            END IF;
        END LOOP;
        IF edges >= MAX_EDGES THEN
            INSERT INTO follow_ups (job_id) SELECT id FROM unnest(this) AS id ON CONFLICT (job_id) DO NOTHING;
        END IF;
        this := next;
    END LOOP;
    IF cardinality(keys) > 0 THEN
        RETURN QUERY SELECT admit(keys);
    END IF;
END $$;
