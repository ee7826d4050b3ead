-- Executables that are not the image's: written into the container after it was made (overlay's upper layer), living in
-- memory only (memfd), or unlinked while they run.
SELECT time, k8s_namespace_name, k8s_pod_name, k8s_container_name, container_image_name, entry, process_executable_path,
    process_command_args,
    CASE
        WHEN process_executable_memfd THEN 'memory only'
        WHEN process_executable_deleted THEN 'deleted'
        ELSE 'written into the container'
    END AS why,
    event_id
FROM events
WHERE kind = 'process.exec' AND container_id IS NOT NULL
    AND (process_executable_memfd OR process_executable_deleted OR process_executable_upper_layer)
ORDER BY time;
