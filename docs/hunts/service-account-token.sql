-- Reads of a service account's token by an executable that does so in few pods of the fleet. A workload's own client reads
-- it all the time and everywhere; a shell, cat or curl does not.
WITH reads AS (
    SELECT
        time, cluster, k8s_node_name, k8s_namespace_name, k8s_pod_name, k8s_pod_uid, k8s_container_name,
        k8s_service_account_name, container_image_name, process_executable_path, entry, file_path, event_id
    FROM events
    WHERE kind = 'file.open' AND result = 0 AND file_access IN ('read', 'read_write') AND container_id IS NOT NULL
        AND file_path LIKE '%/secrets/kubernetes.io/serviceaccount/%' AND file_path LIKE '%/token'
),
habits AS (
    SELECT container_image_name, process_executable_path, count(DISTINCT k8s_pod_uid) AS pods
    FROM reads
    GROUP BY container_image_name, process_executable_path
)
SELECT r.time, r.k8s_namespace_name, r.k8s_pod_name, r.k8s_container_name, r.k8s_service_account_name,
    r.process_executable_path, r.entry, r.file_path, h.pods, r.event_id
FROM reads r
JOIN habits h ON h.container_image_name IS NOT DISTINCT FROM r.container_image_name
    AND h.process_executable_path IS NOT DISTINCT FROM r.process_executable_path
-- Injected ones always: nobody's client comes by kubectl exec.
WHERE h.pods <= 2 OR r.entry = 'exec'
ORDER BY r.time;
