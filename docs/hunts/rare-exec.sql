-- What an image's pods hardly ever execute: the executables of each image with how surprising they are, in bits
-- (-log2 of their share, by pods, one added to each). A miner in one pod of three hundred is at the top.
WITH runs AS (
    SELECT container_image_name, process_executable_path, k8s_pod_uid, time, k8s_namespace_name, k8s_pod_name, event_id
    FROM events
    WHERE kind = 'process.exec' AND container_id IS NOT NULL AND container_image_name IS NOT NULL
),
fleet AS (
    SELECT container_image_name, count(DISTINCT k8s_pod_uid) AS pods FROM runs GROUP BY container_image_name
),
use AS (
    SELECT
        container_image_name, process_executable_path, count(DISTINCT k8s_pod_uid) AS pods, count(*) AS execs,
        min(time) AS first_time, min_by(k8s_namespace_name || '/' || k8s_pod_name, time) AS first_pod,
        min_by(event_id, time) AS first_event_id
    FROM runs
    GROUP BY container_image_name, process_executable_path
)
SELECT u.container_image_name, u.process_executable_path, u.pods, f.pods AS pods_of_image, u.execs, u.first_time,
    u.first_pod, round(-log2((u.pods + 1.0) / (f.pods + 2.0)), 2) AS surprise, u.first_event_id
FROM use u
JOIN fleet f ON f.container_image_name = u.container_image_name
WHERE f.pods >= 5
ORDER BY surprise DESC, u.first_time
LIMIT 100;
