-- events: every event once, and those that left their node before their pod was known (metadata_state pending) completed
-- by the pod's own record. `completed` says so; an event whose container is in no record (a pod's sandbox) keeps pending
-- and has its pod's names.
CREATE OR REPLACE VIEW events AS
WITH once AS (
    SELECT
        * EXCLUDE (copy),
        -- What is joined by, null where there is nothing to complete.
        CASE WHEN metadata_state = 'pending' THEN k8s_pod_uid END AS pending_pod,
        CASE WHEN metadata_state = 'pending' THEN container_id END AS pending_container
    FROM (
        SELECT
            *,
            -- A resent event is the same to the byte but for its arrival, so it lies in the same partition: with the
            -- partition's columns in here a condition on them still spares reading the rest.
            row_number() OVER (PARTITION BY kind, cluster, dt, hour, event_id ORDER BY ingest_time, file) AS copy
        FROM lake
    )
    WHERE copy = 1
)
SELECT
    e.* EXCLUDE (pending_pod, pending_container) REPLACE (
        coalesce(e.k8s_namespace_name, p.k8s_namespace_name) AS k8s_namespace_name,
        coalesce(e.k8s_pod_name, p.k8s_pod_name) AS k8s_pod_name,
        coalesce(e.k8s_pod_labels, p.k8s_pod_labels) AS k8s_pod_labels,
        coalesce(e.k8s_service_account_name, p.k8s_service_account_name) AS k8s_service_account_name,
        coalesce(e.k8s_owner_kind, p.k8s_owner_kind) AS k8s_owner_kind,
        coalesce(e.k8s_owner_name, p.k8s_owner_name) AS k8s_owner_name,
        coalesce(e.k8s_owner_derived, p.k8s_owner_derived) AS k8s_owner_derived,
        coalesce(e.k8s_container_name, c.k8s_container_name) AS k8s_container_name,
        coalesce(e.container_runtime_name, c.container_runtime_name) AS container_runtime_name,
        coalesce(e.container_image_name, c.container_image_name) AS container_image_name,
        coalesce(e.container_image_digest, c.container_image_digest) AS container_image_digest,
        CASE
            WHEN e.metadata_state = 'pending' AND p.k8s_pod_uid IS NOT NULL
                AND (e.container_id IS NULL OR c.container_id IS NOT NULL) THEN 'complete'
            ELSE e.metadata_state
        END AS metadata_state),
    p.k8s_pod_uid IS NOT NULL AS completed
FROM once e
LEFT JOIN pods p ON p.cluster = e.cluster AND p.k8s_node_name = e.k8s_node_name AND p.k8s_pod_uid = e.pending_pod
LEFT JOIN containers c ON c.cluster = e.cluster AND c.k8s_node_name = e.k8s_node_name
    AND c.k8s_pod_uid = e.pending_pod AND c.container_id = e.pending_container;
