-- pod_ips: whose an address was, from_ns <= time < to_ns (null: still). By the model of Kubernetes an address is one
-- pod's in its cluster at a time; pods of the host's network are not here, for theirs is the node's.
--
-- A pod has its address before its first container starts and until its last one ended, and the kubelet tells both in
-- whole seconds, cut off. So an interval begins with the second of the first start and ends with the second of the last
-- end; where no end was told, when the agent noticed that the pod is gone, or a second after the next one started to use
-- the address. Two that overlap for a moment make that moment ambiguous: whoever asks gets two pods, and should take none.
CREATE OR REPLACE VIEW pod_ips AS
WITH seen AS (
    SELECT * FROM lake
    WHERE kind = 'kerntap.pod' AND pod_state = 'seen' AND k8s_pod_uid IS NOT NULL AND NOT k8s_pod_host_network
),
claims AS (
    SELECT cluster, k8s_node_name, k8s_pod_uid, ip, min(time_ns) AS first_ns
    FROM (SELECT cluster, k8s_node_name, k8s_pod_uid, time_ns, UNNEST(k8s_pod_ips) AS ip FROM seen)
    GROUP BY cluster, k8s_node_name, k8s_pod_uid, ip
),
ran AS (
    SELECT
        cluster, k8s_node_name, k8s_pod_uid,
        min(CASE
            -- Its first start was not seen: it was not before the kubelet knew the pod.
            WHEN c.k8s_container_restart_count > 0 THEN epoch_ns(TRY_CAST(k8s_pod_start_time AS TIMESTAMP))
            ELSE epoch_ns(TRY_CAST(c.started_at AS TIMESTAMP))
        END) AS started_ns,
        max(epoch_ns(TRY_CAST(c.finished_at AS TIMESTAMP))) AS finished_ns
    FROM (
        SELECT cluster, k8s_node_name, k8s_pod_uid, k8s_pod_start_time, UNNEST(k8s_pod_containers) AS c FROM seen
    )
    GROUP BY cluster, k8s_node_name, k8s_pod_uid
),
uses AS (
    SELECT
        claims.cluster, claims.ip, claims.k8s_node_name, claims.k8s_pod_uid, pods.k8s_namespace_name, pods.k8s_pod_name,
        least(claims.first_ns, ran.started_ns) AS from_ns,
        CASE
            WHEN pods.k8s_pod_phase IN ('Succeeded', 'Failed') THEN coalesce(ran.finished_ns + 1000000000, pods.time_ns)
            ELSE pods.gone_time_ns
        END AS end_ns
    FROM claims
    JOIN pods ON pods.cluster = claims.cluster AND pods.k8s_node_name = claims.k8s_node_name
        AND pods.k8s_pod_uid = claims.k8s_pod_uid
    LEFT JOIN ran ON ran.cluster = claims.cluster AND ran.k8s_node_name = claims.k8s_node_name
        AND ran.k8s_pod_uid = claims.k8s_pod_uid
),
bounded AS (
    SELECT
        *,
        lead(from_ns) OVER (PARTITION BY cluster, ip ORDER BY from_ns, k8s_pod_uid) + 1000000000 AS next_ns
    FROM uses
)
SELECT
    cluster, ip, from_ns,
    CASE
        WHEN end_ns IS NULL OR next_ns < end_ns THEN next_ns
        WHEN end_ns < from_ns THEN from_ns
        ELSE end_ns
    END AS to_ns,
    k8s_node_name, k8s_pod_uid, k8s_namespace_name, k8s_pod_name
FROM bounded;
