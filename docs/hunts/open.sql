-- The views, for DuckDB's shell, from the repository's top:
--   duckdb -cmd "SET VARIABLE lake = '/var/lib/kerntap/events'" -init docs/hunts/open.sql
-- docs/hunts/views/exec_audit.sql and zeek.sql come after these, where there is an audit log or a conn.log.
.read docs/hunts/views/lake.sql
.read docs/hunts/views/pods.sql
.read docs/hunts/views/pod_ips.sql
.read docs/hunts/views/events.sql
.read docs/hunts/views/connections.sql
.read docs/hunts/views/gaps.sql
