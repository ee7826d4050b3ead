-- connections: a row for each connection with both of its ends named, as far as they are known.
--   orig_*  who connected, resp_*  who was connected to: address and port; node, namespace, pod, container, process
--   orig_by, resp_by   how the end is known: `event` by its own event, from its own cgroup; `pod_ip` by its address at
--                      the time; null: not known, or ambiguous
--   asked_*     what the caller passed, where it differs from what its socket reached
--   reached_*   the accepting socket's own address: behind a ClusterIP the pod's, while resp_* is the service's
-- `result` is the connect's (0, or -errno). UDP has no accept: its resp end is known by address only.

-- socket_ends: the ends that events tell. `scope`: where the addresses mean something beyond the cluster: those of
-- loopback, and of a socket that talks to its own address, in one network namespace; link-local ones on one node.
CREATE OR REPLACE VIEW socket_ends AS
SELECT
    kind, event_id, time, time_ns, dt, cluster, host_boot_id,
    k8s_node_name, k8s_namespace_name, k8s_pod_name, k8s_pod_uid, k8s_container_name,
    process_pid, process_start_time_ns, process_executable_path,
    network_transport, community_id, result, error, existing,
    network_local_address AS local_address, network_local_port AS local_port,
    network_peer_address AS peer_address, network_peer_port AS peer_port,
    network_asked_address AS asked_address, network_asked_port AS asked_port,
    network_connection_start_ns AS start_ns, network_connection_duration_ns AS duration_ns,
    network_bytes_sent AS bytes_sent, network_bytes_received AS bytes_received, network_ended_by AS ended_by,
    CASE
        WHEN network_local_address LIKE '127.%' OR network_local_address = '::1'
            OR network_local_address = network_peer_address
            THEN host_boot_id || ' ' || CAST(process_network_namespace AS VARCHAR)
        WHEN network_local_address LIKE '169.254.%' OR regexp_matches(network_local_address, '^fe[89ab].:')
            THEN host_boot_id
        ELSE ''
    END AS scope
FROM events
WHERE kind IN ('socket.connect', 'socket.accept', 'socket.close') AND network_transport <> 'unix';

-- connection_pairs: which accept is the other end of which connect. An accept follows its connect, by up to a minute (a
-- port is not used again sooner without a reset), or seems to precede it by what two nodes' clocks differ: 2 s at most.
-- The same four numbers at both ends decide. Only for a connect to what is no pod's address (a ClusterIP) is it enough
-- that the client's are the same. The nearest of several is taken if each is the other's nearest; where a second one is
-- as near as clocks can tell, none.
CREATE OR REPLACE VIEW connection_pairs AS
WITH candidates AS (
    SELECT
        c.event_id AS connect_id, a.event_id AS accept_id,
        CASE WHEN c.peer_address = a.local_address AND c.peer_port = a.local_port THEN 0 ELSE 1 END AS rewritten,
        CASE WHEN c.host_boot_id = a.host_boot_id THEN 0 ELSE 1 END AS apart,
        abs(a.time_ns - c.time_ns) AS wait_ns
    FROM socket_ends c
    JOIN socket_ends a ON a.cluster = c.cluster AND a.scope = c.scope AND a.network_transport = c.network_transport
        AND a.peer_address = c.local_address AND a.peer_port = c.local_port
        AND a.time_ns BETWEEN c.time_ns - 2000000000 AND c.time_ns + 60000000000
    WHERE c.kind = 'socket.connect' AND a.kind = 'socket.accept' AND c.result = 0
        AND NOT c.existing AND NOT a.existing
),
-- An end that has an exact partner is no candidate for others.
fitting AS (
    SELECT *
    FROM (
        SELECT
            *,
            min(rewritten) OVER (PARTITION BY connect_id) AS connect_best,
            min(rewritten) OVER (PARTITION BY accept_id) AS accept_best
        FROM candidates
    )
    WHERE rewritten = connect_best AND rewritten = accept_best
),
-- What two clocks, or two addresses, leave open; on one node with the same four numbers nothing.
ranked AS (
    SELECT
        *,
        CASE WHEN rewritten = 0 AND apart = 0 THEN 0 ELSE 2000000000 END AS doubt_ns,
        row_number() OVER (PARTITION BY connect_id ORDER BY apart, wait_ns, accept_id) AS connect_rank,
        row_number() OVER (PARTITION BY accept_id ORDER BY apart, wait_ns, connect_id) AS accept_rank,
        lead(apart * 1000000000000 + wait_ns) OVER (PARTITION BY connect_id ORDER BY apart, wait_ns, accept_id)
            - (apart * 1000000000000 + wait_ns) AS connect_lead_ns,
        lead(apart * 1000000000000 + wait_ns) OVER (PARTITION BY accept_id ORDER BY apart, wait_ns, connect_id)
            - (apart * 1000000000000 + wait_ns) AS accept_lead_ns
    FROM fitting
)
SELECT connect_id, accept_id, rewritten = 1 AS rewritten
FROM ranked
WHERE connect_rank = 1 AND accept_rank = 1
    AND (connect_lead_ns IS NULL OR connect_lead_ns > doubt_ns)
    AND (accept_lead_ns IS NULL OR accept_lead_ns > doubt_ns);

CREATE OR REPLACE VIEW connections AS
WITH connects AS (SELECT * FROM socket_ends WHERE kind = 'socket.connect'),
accepts AS (SELECT * FROM socket_ends WHERE kind = 'socket.accept'),
closes AS (SELECT * FROM socket_ends WHERE kind = 'socket.close' AND start_ns IS NOT NULL),
-- Whose the far address was; an ambiguous moment names nobody.
named AS (
    SELECT
        far.event_id,
        min(p.k8s_node_name) AS node, min(p.k8s_namespace_name) AS namespace, min(p.k8s_pod_name) AS pod,
        min(p.k8s_pod_uid) AS pod_uid
    FROM socket_ends far
    JOIN pod_ips p ON p.cluster = far.cluster AND p.ip = far.peer_address
        AND p.from_ns <= far.time_ns AND (p.to_ns IS NULL OR far.time_ns < p.to_ns)
    WHERE far.kind IN ('socket.connect', 'socket.accept')
    GROUP BY far.event_id
    HAVING count(DISTINCT p.k8s_pod_uid) = 1
),
pairs AS (
    SELECT connection_pairs.* FROM connection_pairs
    LEFT JOIN named ON named.event_id = connect_id
    WHERE NOT rewritten OR named.event_id IS NULL
)
SELECT
    c.cluster, c.dt, c.time, c.time_ns, c.network_transport, c.community_id, a.community_id AS reached_community_id,
    c.local_address AS orig_address, c.local_port AS orig_port, c.peer_address AS resp_address, c.peer_port AS resp_port,
    c.asked_address, c.asked_port, a.local_address AS reached_address, a.local_port AS reached_port,
    'event' AS orig_by,
    c.k8s_node_name AS orig_node, c.k8s_namespace_name AS orig_namespace, c.k8s_pod_name AS orig_pod,
    c.k8s_pod_uid AS orig_pod_uid, c.k8s_container_name AS orig_container, c.process_pid AS orig_pid,
    c.process_executable_path AS orig_executable, c.event_id AS orig_event_id,
    CASE WHEN a.event_id IS NOT NULL THEN 'event' WHEN n.event_id IS NOT NULL THEN 'pod_ip' END AS resp_by,
    CASE WHEN a.event_id IS NOT NULL THEN a.k8s_node_name ELSE n.node END AS resp_node,
    CASE WHEN a.event_id IS NOT NULL THEN a.k8s_namespace_name ELSE n.namespace END AS resp_namespace,
    CASE WHEN a.event_id IS NOT NULL THEN a.k8s_pod_name ELSE n.pod END AS resp_pod,
    CASE WHEN a.event_id IS NOT NULL THEN a.k8s_pod_uid ELSE n.pod_uid END AS resp_pod_uid,
    a.k8s_container_name AS resp_container, a.process_pid AS resp_pid, a.process_executable_path AS resp_executable,
    a.event_id AS resp_event_id,
    c.result, c.error, c.existing,
    coalesce(cc.duration_ns, ac.duration_ns) AS duration_ns,
    coalesce(cc.bytes_sent, ac.bytes_received) AS orig_bytes, coalesce(cc.bytes_received, ac.bytes_sent) AS resp_bytes,
    CASE
        WHEN cc.event_id IS NOT NULL THEN replace(replace(cc.ended_by, 'local', 'orig'), 'remote', 'resp')
        ELSE replace(replace(ac.ended_by, 'local', 'resp'), 'remote', 'orig')
    END AS ended_by
FROM connects c
LEFT JOIN pairs ON pairs.connect_id = c.event_id
LEFT JOIN accepts a ON a.event_id = pairs.accept_id
LEFT JOIN named n ON n.event_id = c.event_id
LEFT JOIN closes cc ON cc.host_boot_id = c.host_boot_id AND cc.start_ns = c.start_ns
    AND cc.local_address = c.local_address AND cc.local_port = c.local_port AND cc.peer_port = c.peer_port
LEFT JOIN closes ac ON ac.host_boot_id = a.host_boot_id AND ac.start_ns = a.start_ns
    AND ac.local_address = a.local_address AND ac.local_port = a.local_port AND ac.peer_port = a.peer_port
UNION ALL
-- Who accepted is known, who connected is not: outside of the cluster, behind another address, or its event is lost.
SELECT
    a.cluster, a.dt, a.time, a.time_ns, a.network_transport, a.community_id, a.community_id,
    a.peer_address, a.peer_port, a.local_address, a.local_port,
    NULL, NULL, a.local_address, a.local_port,
    CASE WHEN n.event_id IS NOT NULL THEN 'pod_ip' END,
    n.node, n.namespace, n.pod, n.pod_uid, NULL, NULL, NULL, NULL,
    'event',
    a.k8s_node_name, a.k8s_namespace_name, a.k8s_pod_name, a.k8s_pod_uid, a.k8s_container_name, a.process_pid,
    a.process_executable_path, a.event_id,
    NULL, NULL, a.existing,
    ac.duration_ns, ac.bytes_received, ac.bytes_sent,
    replace(replace(ac.ended_by, 'local', 'resp'), 'remote', 'orig')
FROM accepts a
LEFT JOIN pairs ON pairs.accept_id = a.event_id
LEFT JOIN named n ON n.event_id = a.event_id
LEFT JOIN closes ac ON ac.host_boot_id = a.host_boot_id AND ac.start_ns = a.start_ns
    AND ac.local_address = a.local_address AND ac.local_port = a.local_port AND ac.peer_port = a.peer_port
WHERE pairs.accept_id IS NULL;
