-- Processes that came into a container from outside, and no kubectl exec and no probe of the pod says why: somebody on the
-- node (crictl, nsenter, runc), or by the kubelet's own API (nodes/proxy), which the audit log does not show as an exec.
-- Needs views/exec_audit.sql; an audit log with holes makes false ones.
SELECT time, cause, k8s_node_name, k8s_namespace_name, k8s_pod_name, k8s_container_name, command, process_executable_path,
    event_id
FROM exec_audit
WHERE cause IN ('unexplained', 'ambiguous')
ORDER BY time;
