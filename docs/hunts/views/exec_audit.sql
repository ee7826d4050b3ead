-- exec_audit: processes that were brought into a container from outside (entry exec), and who did it.
--   SET VARIABLE audit = '/var/log/kubernetes/audit.ndjson';   the API server's audit log, audit.k8s.io/v1, a row a line
--   SET VARIABLE audit_cluster = 'north';                      the cluster that it is of; default: `default`
--   cause  kubectl      the audit log has an exec of this command there and then: username, source_ips, audit_id
--          probe        no such row, and the pod has an exec probe or a lifecycle hook with this command
--          ambiguous    an exec in the audit log, but more than one process that may be the one
--          unexplained  neither: crictl, nsenter, the kubelet's own API by nodes/proxy, or an audit log with holes
-- A kubectl exec whose process was not found is a row without a process.

-- audit: the rows of execs, attaches, port forwards and ephemeral containers.
CREATE OR REPLACE VIEW audit AS
SELECT
    coalesce(getvariable('audit_cluster'), 'default') AS cluster,
    auditID AS audit_id, stage, verb, requestURI AS request_uri, "user".username AS username, "user".groups AS groups,
    sourceIPs AS source_ips, userAgent AS user_agent,
    objectRef.namespace AS namespace, objectRef.name AS pod, objectRef.subresource AS subresource,
    responseStatus.code AS code,
    TRY_CAST(requestReceivedTimestamp AS TIMESTAMP) AS time
FROM read_json(
    getvariable('audit'),
    format = 'newline_delimited',
    ignore_errors = true,
    columns = {
        auditID: 'VARCHAR',
        stage: 'VARCHAR',
        verb: 'VARCHAR',
        requestURI: 'VARCHAR',
        user: 'STRUCT(username VARCHAR, groups VARCHAR[])',
        sourceIPs: 'VARCHAR[]',
        userAgent: 'VARCHAR',
        objectRef: 'STRUCT(resource VARCHAR, subresource VARCHAR, namespace VARCHAR, name VARCHAR)',
        responseStatus: 'STRUCT(code INTEGER)',
        requestReceivedTimestamp: 'VARCHAR'
    })
WHERE auditID IS NOT NULL AND objectRef.resource = 'pods'
    AND objectRef.subresource IN ('exec', 'attach', 'portforward', 'ephemeralcontainers');

-- kubectl_exec: each exec that the API server let through. The verb is `get` by WebSocket, `create` by SPDY.
CREATE OR REPLACE VIEW kubectl_exec AS
SELECT
    cluster, audit_id, time, username, groups, source_ips, user_agent, namespace, pod,
    nullif(regexp_extract(request_uri, '[?&]container=([^&]*)', 1), '') AS container,
    -- What is not UTF-8 is null, and matches no process.
    list_transform(
        regexp_extract_all(request_uri, '[?&]command=([^&]*)', 1),
        word -> TRY(url_decode(replace(word, '+', '%20')))) AS command
FROM (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY cluster, audit_id
            ORDER BY CASE WHEN stage = 'ResponseStarted' THEN 0 ELSE 1 END, stage) AS copy
    FROM audit
    WHERE subresource = 'exec' AND verb IN ('get', 'create') AND code = 101
)
WHERE copy = 1;

-- injections: the first command of each process tree that came into a container from outside. What it starts is not here:
-- its parent is known in the container, by its own exec or (a fork that only forked) by its exit.
CREATE OR REPLACE VIEW injections AS
WITH inside AS (
    SELECT DISTINCT cluster, host_boot_id, container_id, process_pid, process_start_time_ns
    FROM events
    WHERE kind IN ('process.exec', 'process.exit') AND entry = 'exec' AND container_id IS NOT NULL
)
SELECT
    * EXCLUDE (nth),
    -- Its argv joined by NUL, as a pattern: a secret that the agent replaced may have been anything, and of one that was
    -- cut the rest.
    regexp_replace(
        replace(replace(replace(array_to_string(process_command_args, chr(0)), '\', '\\'), '%', '\%'), '_', '\_'),
        '<redacted:[0-9a-f]+>', '%', 'g') || CASE WHEN process_command_args_truncated THEN '%' ELSE '' END
        AS command_pattern
FROM (
    SELECT
        e.*,
        row_number() OVER (
            PARTITION BY e.host_boot_id, e.process_pid, e.process_start_time_ns
            ORDER BY e.process_exec_id, e.time_ns, e.event_id) AS nth
    FROM events e
    LEFT JOIN inside parent ON parent.cluster = e.cluster AND parent.host_boot_id = e.host_boot_id
        AND parent.container_id = e.container_id AND parent.process_pid = e.process_parent_pid
        AND parent.process_start_time_ns = e.process_parent_start_time_ns
    WHERE e.kind = 'process.exec' AND e.entry = 'exec' AND e.container_id IS NOT NULL AND NOT e.existing
        AND parent.process_pid IS NULL
)
WHERE nth = 1;

CREATE OR REPLACE VIEW exec_audit AS
WITH candidates AS (
    SELECT
        a.cluster, a.audit_id, a.username, a.time AS asked_time, i.event_id, i.time AS exec_time,
        abs(date_diff('millisecond', a.time, i.time)) AS wait_ms
    FROM kubectl_exec a
    JOIN injections i ON i.cluster = a.cluster AND i.k8s_namespace_name = a.namespace AND i.k8s_pod_name = a.pod
        AND (a.container IS NULL OR a.container = i.k8s_container_name)
        -- The API server asks the kubelet, and that the runtime: the process is later, but for the clocks.
        AND i.time BETWEEN a.time - INTERVAL 1 SECOND AND a.time + INTERVAL 10 SECOND
        AND array_to_string(a.command, chr(0)) LIKE i.command_pattern ESCAPE '\'
),
nearest AS (
    SELECT
        *,
        row_number() OVER (PARTITION BY cluster, audit_id ORDER BY wait_ms, event_id) = 1
            AND row_number() OVER (PARTITION BY event_id ORDER BY wait_ms, audit_id) = 1 AS chosen
    FROM candidates
),
-- A second process, or another user's exec, within a second of the chosen one.
pairs AS (
    SELECT
        n.cluster, n.audit_id, n.event_id,
        EXISTS (
            SELECT 1 FROM nearest other
            WHERE other.cluster = n.cluster AND other.audit_id = n.audit_id AND other.event_id <> n.event_id
                AND abs(date_diff('millisecond', other.exec_time, n.exec_time)) < 1000
                AND NOT EXISTS (SELECT 1 FROM nearest taken WHERE taken.event_id = other.event_id AND taken.chosen)
        ) OR EXISTS (
            SELECT 1 FROM nearest other
            WHERE other.event_id = n.event_id AND other.audit_id <> n.audit_id AND other.username <> n.username
                AND abs(date_diff('millisecond', other.asked_time, n.asked_time)) < 1000
        ) AS ambiguous
    FROM nearest n
    WHERE n.chosen
),
probed AS (
    SELECT DISTINCT i.event_id
    FROM injections i
    JOIN (
        SELECT DISTINCT cluster, k8s_node_name, k8s_pod_uid, k8s_container_name, UNNEST(probe_commands) AS command
        FROM containers
    ) c ON c.cluster = i.cluster AND c.k8s_node_name = i.k8s_node_name AND c.k8s_pod_uid = i.k8s_pod_uid
        -- A past instance's probes are its successor's, which has the same name.
        AND c.k8s_container_name = i.k8s_container_name
    -- The kubelet puts $(NAME) in from the container's environment, and the agent <redacted:...> for secrets.
    WHERE array_to_string(i.process_command_args, chr(0)) LIKE regexp_replace(
        replace(replace(replace(c.command, '\', '\\'), '%', '\%'), '_', '\_'),
        '\$\([A-Za-z0-9.\\_-]+\)|<redacted:[0-9a-f]+>', '%', 'g') ESCAPE '\'
)
SELECT
    coalesce(i.cluster, a.cluster) AS cluster,
    CASE
        WHEN i.event_id IS NULL OR (p.audit_id IS NOT NULL AND NOT p.ambiguous) THEN 'kubectl'
        WHEN p.ambiguous OR i.event_id IN (SELECT event_id FROM candidates) THEN 'ambiguous'
        WHEN i.event_id IN (SELECT event_id FROM probed) THEN 'probe'
        ELSE 'unexplained'
    END AS cause,
    coalesce(i.time, a.time) AS time, a.time AS asked_time,
    a.audit_id, a.username, a.groups, a.source_ips, a.user_agent,
    coalesce(i.k8s_namespace_name, a.namespace) AS k8s_namespace_name, coalesce(i.k8s_pod_name, a.pod) AS k8s_pod_name,
    i.k8s_pod_uid, coalesce(i.k8s_container_name, a.container) AS k8s_container_name, i.container_id, i.k8s_node_name,
    coalesce(i.process_command_args, a.command) AS command,
    i.event_id, i.host_boot_id, i.process_pid, i.process_start_time_ns, i.process_executable_path,
    i.process_real_user_id
FROM injections i
LEFT JOIN pairs p ON p.event_id = i.event_id
FULL OUTER JOIN kubectl_exec a ON a.cluster = p.cluster AND a.audit_id = p.audit_id AND NOT p.ambiguous;
