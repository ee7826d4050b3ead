-- Connections of pods to the cloud's metadata service, where a node's credentials are: by workload and executable, those
-- that began within the last day of what is here, and never before.
WITH asks AS (
    SELECT
        cluster, k8s_namespace_name, coalesce(k8s_owner_name, k8s_pod_name) AS workload, process_executable_path,
        min(time) AS first_time, max(time) AS last_time, count(*) AS connections, min_by(k8s_pod_name, time) AS first_pod,
        min_by(event_id, time) AS first_event_id
    FROM events
    WHERE kind = 'socket.connect' AND container_id IS NOT NULL
        AND coalesce(network_asked_address, network_peer_address) IN ('169.254.169.254', 'fd00:ec2::254', '169.254.170.2',
            '169.254.170.23')
    GROUP BY ALL
)
SELECT *
FROM asks
WHERE first_time >= (SELECT max(time) FROM lake WHERE kind = 'socket.connect') - INTERVAL 1 DAY
ORDER BY first_time;
