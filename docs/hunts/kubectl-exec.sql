-- Who ran what in which container by kubectl exec, and everything that came of it: the process, and what its descendants
-- executed. Needs views/exec_audit.sql.
WITH RECURSIVE tree AS (
    SELECT audit_id, username, source_ips, asked_time, event_id, host_boot_id, process_pid, process_start_time_ns, 0 AS depth
    FROM exec_audit
    WHERE cause = 'kubectl' AND event_id IS NOT NULL
    UNION
    SELECT t.audit_id, t.username, t.source_ips, t.asked_time, e.event_id, e.host_boot_id, e.process_pid,
        e.process_start_time_ns, t.depth + 1
    FROM tree t
    JOIN events e ON e.kind = 'process.exec' AND e.host_boot_id = t.host_boot_id AND e.event_id <> t.event_id
        AND ((e.process_parent_pid = t.process_pid AND e.process_parent_start_time_ns = t.process_start_time_ns)
            OR (e.process_pid = t.process_pid AND e.process_start_time_ns = t.process_start_time_ns))
    WHERE t.depth < 20
)
SELECT t.asked_time, t.username, t.source_ips, e.time, min(t.depth) AS depth, e.k8s_namespace_name, e.k8s_pod_name,
    e.k8s_container_name, e.process_command_args, e.process_executable_path, e.event_id
FROM tree t
JOIN events e ON e.kind = 'process.exec' AND e.event_id = t.event_id
GROUP BY ALL
ORDER BY t.asked_time, e.time, e.event_id;
