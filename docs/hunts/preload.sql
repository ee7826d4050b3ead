-- A library that others are made to load: LD_PRELOAD and its kin in a process's environment (only where the agent's
-- `env.allow` has them: none by default), and writes to the loader's own files.
SELECT time, kind, k8s_node_name, k8s_namespace_name, k8s_pod_name, k8s_container_name, entry, process_executable_path,
    array_to_string(list_filter(
        process_environment, word -> regexp_matches(word, '^(LD_PRELOAD|LD_AUDIT|LD_LIBRARY_PATH)=')), ' ') AS how,
    event_id
FROM events
WHERE kind = 'process.exec'
    AND len(list_filter(
        process_environment, word -> regexp_matches(word, '^(LD_PRELOAD|LD_AUDIT|LD_LIBRARY_PATH)=.'))) > 0
UNION ALL
SELECT time, kind, k8s_node_name, k8s_namespace_name, k8s_pod_name, k8s_container_name, entry, process_executable_path,
    coalesce(file_new_path, file_path), event_id
FROM events
WHERE kind IN ('file.close', 'file.rename', 'file.open')
    AND coalesce(file_new_path, file_path) IN ('/etc/ld.so.preload', '/etc/ld.so.conf', '/etc/ld.so.cache')
    AND (kind <> 'file.open' OR file_access <> 'read') AND (kind <> 'file.close' OR file_modified IS NOT FALSE)
ORDER BY time;
