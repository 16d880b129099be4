-- What workers say of their memory.
ALTER TABLE workers ADD COLUMN memory_bytes bigint CHECK (memory_bytes >= 0);
COMMENT ON COLUMN workers.memory_bytes IS 'resident, with child processes; NULL: it did not say';
