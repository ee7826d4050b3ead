-- zeek_connections: rows of Zeek's conn.log (JSON) with the pods at both ends, joined by Community ID and time.
--   SET VARIABLE zeek = '/var/log/zeek/conn*.log';
-- Zeek writes a row when a connection ends, with the time at which it began, by its own clock: a minute of difference is
-- allowed beyond the connection's duration. Behind a ClusterIP Zeek may see the service's address or the pod's: both are
-- tried. Zeek's originator has to be ours. Two connections with one id and as near leave orig_pod and resp_pod null.
CREATE OR REPLACE VIEW conn_log AS
SELECT
    uid, make_timestamp(CAST(ts * 1000000 AS BIGINT)) AS time, ts, "id.orig_h" AS orig_h, "id.orig_p" AS orig_p,
    "id.resp_h" AS resp_h, "id.resp_p" AS resp_p, proto, service, duration, orig_bytes, resp_bytes, conn_state, history,
    community_id
FROM read_json(
    getvariable('zeek'),
    format = 'newline_delimited',
    ignore_errors = true,
    columns = {
        ts: 'DOUBLE', uid: 'VARCHAR', "id.orig_h": 'VARCHAR', "id.orig_p": 'INTEGER', "id.resp_h": 'VARCHAR',
        "id.resp_p": 'INTEGER', proto: 'VARCHAR', service: 'VARCHAR', duration: 'DOUBLE', orig_bytes: 'BIGINT',
        resp_bytes: 'BIGINT', conn_state: 'VARCHAR', history: 'VARCHAR', community_id: 'VARCHAR'
    })
WHERE uid IS NOT NULL;

CREATE OR REPLACE VIEW zeek_connections AS
WITH either AS (
    SELECT community_id AS id, * FROM connections WHERE community_id IS NOT NULL
    UNION ALL
    SELECT reached_community_id, * FROM connections
    WHERE reached_community_id IS NOT NULL AND community_id IS NOT NULL AND reached_community_id <> community_id
),
near AS (
    SELECT
        z.uid, c.*,
        abs(z.ts * 1000000000 - c.time_ns) AS apart_ns,
        row_number() OVER nearest AS nth,
        lead(abs(z.ts * 1000000000 - c.time_ns)) OVER nearest - abs(z.ts * 1000000000 - c.time_ns) AS lead_ns
    FROM conn_log z
    JOIN either c ON c.id = z.community_id AND c.orig_address = z.orig_h AND c.orig_port = z.orig_p
        AND abs(z.ts * 1000000000 - c.time_ns) <= (coalesce(z.duration, 0) + 60) * 1000000000
    WINDOW nearest AS (PARTITION BY z.uid ORDER BY abs(z.ts * 1000000000 - c.time_ns))
)
SELECT
    z.uid, z.time, z.community_id, z.proto, z.service, z.orig_h, z.orig_p, z.resp_h, z.resp_p, z.duration, z.orig_bytes,
    z.resp_bytes, z.conn_state, z.history,
    n.cluster, n.orig_node, n.orig_namespace, n.orig_pod, n.orig_container, n.orig_executable, n.orig_event_id,
    n.resp_node, n.resp_namespace, n.resp_pod, n.resp_container, n.resp_executable, n.resp_event_id
FROM conn_log z
LEFT JOIN near n ON n.uid = z.uid AND n.nth = 1 AND (n.lead_ns IS NULL OR n.lead_ns > 2000000000);
