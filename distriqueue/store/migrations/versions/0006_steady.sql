-- What triggers run inherits the settings of the statement that fires them. On the connections of distriqueue/store/database.py
-- that plan for rows found one by one (STEADY), the log joins whole batches all the same.
ALTER FUNCTION record_changed() SET enable_hashjoin = on;
