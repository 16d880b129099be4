-- The first schema. What a row may hold is said here, in CHECKs and triggers, so that no code can break it.

CREATE TABLE jobs (
    id                  uuid PRIMARY KEY,
    type                text NOT NULL CHECK (length(type) BETWEEN 1 AND 200),
    priority            text NOT NULL CHECK (priority IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW')),
    status              text NOT NULL CHECK (status IN (
                            'scheduled', 'blocked', 'pending', 'queued', 'running', 'retrying',
                            'completed', 'failed', 'timeout', 'cancelled')),
    attempt             integer NOT NULL DEFAULT 1 CHECK (attempt >= 1),
    failures            integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    losses              integer NOT NULL DEFAULT 0 CHECK (losses >= 0),
    max_retries         integer NOT NULL CHECK (max_retries BETWEEN 0 AND 100),
    execution_timeout_s double precision NOT NULL CHECK (execution_timeout_s > 0),
    cancel_requested    boolean NOT NULL DEFAULT false,
    worker_id           text,
    progress            real CHECK (progress BETWEEN 0 AND 100),
    created_at          timestamptz NOT NULL DEFAULT now(),
    ready_at            timestamptz NOT NULL DEFAULT now(),
    due_at              timestamptz,
    queued_at           timestamptz,
    started_at          timestamptz,
    finished_at         timestamptz,
    batch_id            uuid,
    tags                text[] NOT NULL DEFAULT '{}',
    metadata            json,
    payload             json NOT NULL,
    result              json,
    error               json,
    CONSTRAINT finished_means_terminal
        CHECK ((finished_at IS NOT NULL) = (status IN ('completed', 'failed', 'timeout', 'cancelled'))),
    CONSTRAINT running_has_a_worker
        CHECK (status <> 'running' OR (worker_id IS NOT NULL AND started_at IS NOT NULL)),
    CONSTRAINT waiting_has_a_due_time
        CHECK (status NOT IN ('scheduled', 'retrying') OR due_at IS NOT NULL),
    CONSTRAINT only_completed_has_a_result
        CHECK (result IS NULL OR status = 'completed')
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

COMMENT ON COLUMN jobs.attempt IS 'fencing token: grows on every retry, loss, release and client retry';
COMMENT ON COLUMN jobs.failures IS 'attempts charged against max_retries';
COMMENT ON COLUMN jobs.losses IS 'attempts lost with their worker';
COMMENT ON COLUMN jobs.ready_at IS 'when the job last became pending';

-- Each index serves one query, named beside it. None leads with status: an UPDATE that checks `status IN (…)` must find
-- its rows by id, and the planner cannot use an index whose predicate is narrower than the check.
CREATE INDEX jobs_newest  ON jobs (created_at DESC, id DESC);                                 -- list
CREATE INDEX jobs_pending ON jobs (priority, ready_at, id) WHERE status = 'pending';          -- dispatcher
CREATE INDEX jobs_due     ON jobs (due_at)    WHERE status IN ('scheduled', 'retrying');      -- scheduler
CREATE INDEX jobs_queued  ON jobs (queued_at) WHERE status = 'queued';                        -- reconciler
CREATE INDEX jobs_running ON jobs (worker_id) WHERE status = 'running';                       -- reaper
CREATE INDEX jobs_cancel  ON jobs (worker_id) WHERE status = 'running' AND cancel_requested;  -- heartbeats
CREATE INDEX jobs_batch   ON jobs (batch_id)  WHERE batch_id IS NOT NULL;                     -- batch

-- The legal steps, generated from distriqueue/core/states.py and tested against it.
CREATE FUNCTION refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'job % may not go from % to %', OLD.id, OLD.status, NEW.status USING ERRCODE = 'DQ002';
END $$;

CREATE TRIGGER jobs_transition BEFORE UPDATE OF status ON jobs FOR EACH ROW
WHEN (OLD.status <> NEW.status AND OLD.status || '>' || NEW.status <> ALL (ARRAY[
    'scheduled>pending', 'scheduled>cancelled',
    'blocked>pending', 'blocked>cancelled',
    'pending>queued', 'pending>running', 'pending>cancelled',
    'queued>running', 'queued>cancelled', 'queued>pending',
    'running>completed', 'running>failed', 'running>timeout', 'running>retrying', 'running>cancelled', 'running>pending',
    'retrying>pending', 'retrying>cancelled',
    'failed>pending', 'timeout>pending', 'cancelled>pending']))
EXECUTE FUNCTION refuse_transition();

-- Whether an attempt that ended badly is tried again, and after how long (distriqueue/core/retry.py: base 2 s, factor 2,
-- cap 600 s, jitter in [½, 1)). The tests hold both to the same figures.
CREATE FUNCTION retries(outcome text, retryable boolean, failures integer, max_retries integer, cancel_requested boolean)
RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT outcome IN ('failed', 'timeout') AND retryable AND failures < max_retries AND NOT cancel_requested
$$;
CREATE FUNCTION retry_delay(failures integer) RETURNS interval LANGUAGE sql VOLATILE AS $$
    SELECT make_interval(secs => least(600, 2 * 2 ^ least(failures, 60)) * (0.5 + random() / 2))
$$;

-- Attempts that a job has left behind; its newest attempt is in the job's own row.
CREATE TABLE attempts (
    job_id      uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt     integer NOT NULL,
    worker_id   text,
    started_at  timestamptz,
    finished_at timestamptz NOT NULL DEFAULT now(),
    outcome     text NOT NULL CHECK (outcome IN ('failed', 'timeout', 'lost', 'released', 'cancelled')),
    error       json,
    PRIMARY KEY (job_id, attempt)
);

-- Every transition of every job, in the order in which it happened to that job: `seq` is drawn while the job's row is locked.
-- A reader must wait out gaps in seq, for a sequence number is visible only after its transaction's commit.
CREATE TABLE events (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at        timestamptz NOT NULL DEFAULT clock_timestamp(),
    job_id    uuid NOT NULL,
    attempt   integer NOT NULL,
    status    text NOT NULL,
    type      text NOT NULL,
    priority  text NOT NULL,
    worker_id text,
    progress  real,
    batch_id  uuid
);
CREATE INDEX events_job ON events (job_id, seq);                                              -- timeline

-- Up to here events may have been deleted by age: a cursor below it cannot be resumed without loss.
CREATE TABLE event_floor (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seq      bigint NOT NULL
);
INSERT INTO event_floor (seq) VALUES (0);

CREATE FUNCTION record_submitted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (job_id, attempt, status, type, priority, batch_id)
    SELECT id, attempt, status, type, priority, batch_id FROM submitted;
    IF FOUND THEN PERFORM pg_notify('distriqueue_events', ''); END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION record_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (job_id, attempt, status, type, priority, worker_id, progress, batch_id)
    SELECT n.id, n.attempt, n.status, n.type, n.priority, n.worker_id, n.progress, n.batch_id
      FROM after n JOIN before o ON o.id = n.id
     WHERE n.status <> o.status OR n.progress IS DISTINCT FROM o.progress AND n.progress IS NOT NULL;
    IF FOUND THEN PERFORM pg_notify('distriqueue_events', ''); END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER jobs_submitted AFTER INSERT ON jobs REFERENCING NEW TABLE AS submitted
    FOR EACH STATEMENT EXECUTE FUNCTION record_submitted();
CREATE TRIGGER jobs_changed AFTER UPDATE ON jobs REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION record_changed();

-- Workers, as the orchestrators hear them.
CREATE TABLE workers (
    id               text PRIMARY KEY,
    type             text NOT NULL,
    state            text NOT NULL CHECK (state IN ('ACTIVE', 'IDLE', 'OVERLOADED', 'UNRESPONSIVE', 'SHUTTING_DOWN', 'STOPPED')),
    capacity         integer NOT NULL,
    load             integer NOT NULL,
    types            text[] NOT NULL DEFAULT '{}',
    version          text,
    drain_requested  boolean NOT NULL DEFAULT false,
    first_seen       timestamptz NOT NULL DEFAULT now(),
    last_seen        timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);  -- every row is written every second: in place, without new index entries

-- Who leads. Epochs only grow; a leader's every transaction ends with fence(its epoch).
CREATE TABLE leadership (
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    epoch      bigint NOT NULL,
    node       text,
    boot       text,
    claimed_at timestamptz
);
INSERT INTO leadership (epoch) VALUES (0);

CREATE TABLE leadership_history (
    epoch      bigint PRIMARY KEY,
    node       text NOT NULL,
    boot       text NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now()
);

-- FOR SHARE: a plain SELECT would let a stale leader commit after the new claim, FOR KEY SHARE would not block the claim.
CREATE FUNCTION fence(expected bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE current bigint;
BEGIN
    SELECT epoch INTO STRICT current FROM leadership FOR SHARE;
    IF current <> expected THEN
        RAISE EXCEPTION 'epoch % is over: the epoch is %', expected, current USING ERRCODE = 'DQ001';
    END IF;
END $$;
