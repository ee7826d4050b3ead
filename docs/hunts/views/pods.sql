-- Pods and their containers, as the kubelets told their agents (kerntap.pod). A pod is of one cluster and one node.

-- pods: a row for each pod, as it was last seen.
--   first_time_ns   its first record
--   gone_time_ns    the agent noticed that it is gone; null: it is there, or its agent ended before it
CREATE OR REPLACE VIEW pods AS
SELECT
    * EXCLUDE (age, last_gone_ns),
    -- One that was seen again is not gone.
    CASE WHEN pod_state = 'gone' OR last_gone_ns >= time_ns THEN last_gone_ns END AS gone_time_ns
FROM (
    SELECT
        *,
        min(time_ns) OVER pod AS first_time_ns,
        max(CASE WHEN pod_state = 'gone' THEN time_ns END) OVER pod AS last_gone_ns,
        row_number() OVER (
            PARTITION BY cluster, k8s_node_name, k8s_pod_uid
            ORDER BY CASE WHEN pod_state = 'seen' THEN 0 ELSE 1 END, time_ns DESC, seq DESC) AS age
    FROM lake
    WHERE kind = 'kerntap.pod' AND k8s_pod_uid IS NOT NULL
    WINDOW pod AS (PARTITION BY cluster, k8s_node_name, k8s_pod_uid)
)
WHERE age = 1;

-- containers: a row for each instance of a container, also past ones; of those only that they were (image and probes of
-- a past instance may have been others).
CREATE OR REPLACE VIEW containers AS
WITH each AS (
    SELECT
        cluster, k8s_node_name, k8s_pod_uid, k8s_namespace_name, k8s_pod_name, time_ns, seq,
        UNNEST(k8s_pod_containers) AS c
    FROM lake
    WHERE kind = 'kerntap.pod' AND k8s_pod_uid IS NOT NULL
),
past AS (SELECT * EXCLUDE (c), c, UNNEST(c.previous_container_ids) AS past_id FROM each),
told AS (
    SELECT
        cluster, k8s_node_name, k8s_pod_uid, k8s_namespace_name, k8s_pod_name, time_ns, seq,
        c.container_id, c.k8s_container_name, c.type, c.container_runtime_name, c.container_image_name,
        c.container_image_digest, c.started_at, c.finished_at, c.probe_commands, c.privileged, c.added_capabilities,
        false AS past
    FROM each
    WHERE c.container_id IS NOT NULL
    UNION ALL
    SELECT
        cluster, k8s_node_name, k8s_pod_uid, k8s_namespace_name, k8s_pod_name, time_ns, seq,
        past_id, c.k8s_container_name, c.type, c.container_runtime_name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, true
    FROM past
)
SELECT * EXCLUDE (age, seq)
FROM (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY cluster, k8s_node_name, k8s_pod_uid, container_id
            ORDER BY past, CASE WHEN container_image_digest IS NULL THEN 1 ELSE 0 END, time_ns DESC, seq DESC) AS age
    FROM told
)
WHERE age = 1;
