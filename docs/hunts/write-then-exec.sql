-- A file that was written in a container and then executed there within the hour: a dropper, or a build. By the path as
-- the container's processes see it; a name that was changed in between is followed.
WITH written AS (
    SELECT cluster, container_id, file_path AS path, time, time_ns, event_id, process_executable_path AS writer
    FROM events
    WHERE kind = 'file.close' AND container_id IS NOT NULL AND file_modified IS NOT FALSE
    UNION ALL
    SELECT w.cluster, w.container_id, r.file_new_path, w.time, w.time_ns, w.event_id, w.process_executable_path
    FROM events r
    JOIN events w ON w.kind = 'file.close' AND w.cluster = r.cluster AND w.container_id = r.container_id
        AND w.file_path = r.file_path AND w.file_modified IS NOT FALSE AND r.time >= w.time
    WHERE r.kind = 'file.rename' AND r.result = 0 AND r.container_id IS NOT NULL
)
SELECT x.time, max(w.time) AS written_time, x.k8s_namespace_name, x.k8s_pod_name, x.k8s_container_name, x.entry,
    x.process_executable_path, x.process_command_args, x.process_interpreter, max_by(w.writer, w.time) AS writer,
    max_by(w.event_id, w.time) AS written_event_id, x.event_id
FROM events x
JOIN written w ON w.cluster = x.cluster AND w.container_id = x.container_id
    -- A script is executed as its interpreter; what was asked for is the script.
    AND (w.path = x.process_executable_path OR w.path = x.process_executable_asked)
    AND w.time BETWEEN x.time - INTERVAL 1 HOUR AND x.time
WHERE x.kind = 'process.exec' AND NOT x.existing
GROUP BY ALL
ORDER BY x.time;
