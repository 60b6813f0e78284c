-- What Mainstay may do on a PostgreSQL server, and nothing else. For PostgreSQL 15 or later; run it once on the primary as a superuser, in
-- the database that the plan names (`postgres: { database: ledger }`; else `postgres`), since rights on functions are a database's:
--     psql -d ledger -f postgresql.sql
-- Standbys get it by replication. Then give the role a password: ALTER ROLE mainstay PASSWORD '…';

-- A server that hangs keeps connections of ours; it must not run out of all.
CREATE ROLE mainstay LOGIN CONNECTION LIMIT 20;

-- To see whom a standby follows, and how far it is.
GRANT pg_monitor TO mainstay;

-- To make a standby a primary.
GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO mainstay;

-- To let a standby follow another server: a setting, and reading it again.
GRANT ALTER SYSTEM ON PARAMETER primary_conninfo TO mainstay;
GRANT EXECUTE ON FUNCTION pg_reload_conf() TO mainstay;

-- To let a new primary wait for the standbys that the plan names (`synchronous`).
GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO mainstay;

-- Before an old primary is rewound to a new one, that one writes a checkpoint, by which it is known to have begun a timeline of its own.
GRANT pg_checkpoint TO mainstay;

-- Only where standbys use slots (primary_slot_name): a slot is made on the new primary. Whoever has this attribute can also read
-- everything by replication, if pg_hba.conf lets it in there.
-- ALTER ROLE mainstay REPLICATION;

-- The role that standbys follow with, and base backups are taken with, where there is none yet.
-- CREATE ROLE replicator LOGIN REPLICATION;

-- Only for `rejoin`, for the role that follows, and in the database `postgres`, whatever the plan names: what pg_rewind reads of the new
-- primary. Whoever may do that may read every file of the server.
-- \connect postgres
-- GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean), pg_read_binary_file(text),
--     pg_read_binary_file(text, bigint, bigint, boolean) TO replicator;
