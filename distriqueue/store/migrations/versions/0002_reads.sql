-- What lists of jobs go by (docs/adr/0013-list-indexes.md). Every index here has the list's order behind what it is for, so
-- that a page costs the same however many jobs there are, and however few or old those are that match.

-- What a job is born with and keeps. An index on `jobs` gets a new entry at each of a job's four steps, whatever it is on:
-- here each gets one. Triggers keep it; `jobs_newest`, which this replaces, pays for it.
CREATE TABLE job_listing (
    created_at    timestamptz NOT NULL,
    id            uuid NOT NULL,
    type          text NOT NULL,
    priority      text NOT NULL,
    schedule_name text
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

CREATE TABLE job_tags (
    tag        text NOT NULL,
    created_at timestamptz NOT NULL,
    id         uuid NOT NULL
) WITH (autovacuum_vacuum_insert_scale_factor = 0.02, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);

INSERT INTO job_listing (created_at, id, type, priority, schedule_name)
SELECT created_at, id, type, priority, schedule_name FROM jobs ORDER BY created_at, id;
INSERT INTO job_tags (tag, created_at, id)
SELECT DISTINCT tag, created_at, id FROM jobs CROSS JOIN unnest(tags) AS tag ORDER BY created_at, id;

ALTER TABLE job_listing ADD PRIMARY KEY (created_at, id);                                                -- list, retention
CREATE INDEX job_listing_type     ON job_listing (type, created_at, id);                                 -- list by type
CREATE INDEX job_listing_priority ON job_listing (priority, created_at, id);                             -- list by priority
CREATE INDEX job_listing_schedule ON job_listing (schedule_name, created_at, id) WHERE schedule_name IS NOT NULL;
ALTER TABLE job_tags ADD PRIMARY KEY (tag, created_at, id);                                              -- list by tag

CREATE FUNCTION list_submitted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO job_listing (created_at, id, type, priority, schedule_name)
    SELECT created_at, id, type, priority, schedule_name FROM submitted;
    INSERT INTO job_tags (tag, created_at, id)
    SELECT DISTINCT tag, created_at, id FROM submitted CROSS JOIN unnest(tags) AS tag;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_listed AFTER INSERT ON jobs REFERENCING NEW TABLE AS submitted
    FOR EACH STATEMENT EXECUTE FUNCTION list_submitted();

CREATE FUNCTION unlist_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- One lookup for each: joined to the transition table, whose size the planner does not know, the whole table is read.
    DELETE FROM job_listing WHERE ctid = ANY (ARRAY (
        SELECT l.ctid FROM deleted d CROSS JOIN LATERAL (
               SELECT ctid FROM job_listing WHERE created_at = d.created_at AND id = d.id LIMIT 1) AS l));
    DELETE FROM job_tags WHERE ctid = ANY (ARRAY (
        SELECT t.ctid FROM deleted d CROSS JOIN LATERAL unnest(d.tags) AS of (tag) CROSS JOIN LATERAL (
               SELECT ctid FROM job_tags WHERE tag = of.tag AND created_at = d.created_at AND id = d.id LIMIT 1) AS t));
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_unlisted AFTER DELETE ON jobs REFERENCING OLD TABLE AS deleted
    FOR EACH STATEMENT EXECUTE FUNCTION unlist_deleted();

-- No statement of ours changes what is listed. Who does it by hand is not lied to; the column list keeps this off all others.
CREATE FUNCTION relist_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE job_listing SET created_at = NEW.created_at, type = NEW.type, priority = NEW.priority, schedule_name = NEW.schedule_name
     WHERE created_at = OLD.created_at AND id = OLD.id;
    DELETE FROM job_tags WHERE tag = ANY (OLD.tags) AND created_at = OLD.created_at AND id = OLD.id;
    INSERT INTO job_tags (tag, created_at, id) SELECT DISTINCT tag, NEW.created_at, NEW.id FROM unnest(NEW.tags) AS tag;
    RETURN NULL;
END $$;
CREATE TRIGGER jobs_relisted AFTER UPDATE OF created_at, type, priority, schedule_name, tags ON jobs
    FOR EACH ROW EXECUTE FUNCTION relist_changed();

-- What changes has to be found in `jobs`. By these two, were they spelt plainly, the planner would be misled where rows are to
-- be found by id: reports check a job's worker, and what leads with status, or holds few rows by stale statistics, looks cheap.
-- A collation and a predicate that only the list asks for keep them from every other statement.
CREATE INDEX jobs_status ON jobs (status COLLATE "C", created_at, id);                                   -- list by status
CREATE INDEX jobs_worker ON jobs (worker_id, created_at, id) WHERE worker_id || '' <> '';                -- list by worker
DROP INDEX jobs_alike;
CREATE INDEX jobs_alike  ON jobs (fingerprint, created_at, id) WHERE fingerprint IS NOT NULL;            -- list, replay
DROP INDEX jobs_newest;
