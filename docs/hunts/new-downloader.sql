-- Tools that fetch or tunnel, in a workload that never ran them in the week before. A workload is its controller (the
-- Deployment, not the pod), else the pod; by image too, so that a new version is new.
WITH runs AS (
    SELECT
        cluster, k8s_namespace_name, coalesce(k8s_owner_name, k8s_pod_name) AS workload, container_image_name,
        regexp_extract(process_executable_path, '[^/]*$') AS tool, time, k8s_pod_name, k8s_container_name, entry,
        process_command_args, event_id,
        -- busybox and the like are many tools in one file: what they were called as.
        regexp_extract(process_command_args[1], '[^/]*$') AS called
    FROM events
    WHERE kind = 'process.exec' AND container_id IS NOT NULL AND NOT existing
),
fetching AS (
    SELECT * FROM runs
    WHERE tool IN ('curl', 'wget', 'nc', 'ncat', 'netcat', 'socat', 'ssh', 'scp', 'sftp', 'ftp', 'tftp', 'telnet', 'aria2c')
        OR called IN ('curl', 'wget', 'nc', 'ncat', 'netcat', 'socat', 'ssh', 'scp', 'ftpget', 'tftp', 'telnet')
)
SELECT time, k8s_namespace_name, workload, k8s_pod_name, k8s_container_name, container_image_name, entry,
    process_command_args, event_id
FROM (
    SELECT
        *,
        lag(time) OVER (
            PARTITION BY cluster, k8s_namespace_name, workload, container_image_name, called ORDER BY time, event_id) AS before
    FROM fetching
)
WHERE before IS NULL OR before < time - INTERVAL 7 DAY
ORDER BY time;
