-- gaps: which events of each run of an agent are in no file, of whatever collector. An agent numbers its events without
-- holes (seq), so a hole is an event that was lost after it had been numbered: in the agent's queue or spool, with the
-- agent, or refused by a collector. Losses before that (kernel, decode, hold) make no hole; `losses` has all of them.
--   first_seq, last_seq, missing   the hole; behind the last event of a run as far as a loss row tells
--   reasons         stages and reasons of the loss rows that speak of these numbers
--   run_missing     of all holes of the run
--   run_accounted   what loss rows say about numbered events of the run, those of its successor too; at most: an
--                   `evicted_unconfirmed` or `killed` one may have arrived
--   unexplained     run_missing beyond run_accounted: still in a spool or under way, lost with a collector's disk, or these
--                   are not the files of all collectors
--   before_file, after_file   a hint at who saw the run on either side: what one replica misses, another may have

-- losses: the run that lost, and what it lost in all. Totals only grow, so that a loss row that is lost itself loses
-- nothing; of a run that is over its successor may speak.
CREATE OR REPLACE VIEW losses AS
SELECT
    cluster, k8s_node_name, coalesce(loss_run_id, agent_run_id) AS agent_run_id, loss_stage, loss_reason, loss_kind,
    max(loss_total) AS total,
    max(CASE WHEN loss_unaccountable THEN 1 ELSE 0 END) = 1 AS lower_bound,
    max(loss_blind_ns) AS blind_ns,
    min(time) AS first_time, max(time) AS last_time
FROM lake
WHERE kind = 'kerntap.loss'
GROUP BY cluster, k8s_node_name, coalesce(loss_run_id, agent_run_id), loss_stage, loss_reason, loss_kind;

CREATE OR REPLACE VIEW gaps AS
WITH ranges AS (
    SELECT
        cluster, k8s_node_name, coalesce(loss_run_id, agent_run_id) AS agent_run_id,
        loss_stage || ' ' || loss_reason AS reason, loss_first_seq AS range_first, loss_last_seq AS range_last
    FROM lake
    WHERE kind = 'kerntap.loss' AND loss_first_seq IS NOT NULL AND loss_last_seq IS NOT NULL
        AND loss_stage IN ('queue', 'spool', 'collector', 'run')
),
seqs AS (
    SELECT
        cluster, k8s_node_name, agent_run_id, seq,
        min(time) AS time, min(file) AS file
    FROM lake
    GROUP BY cluster, k8s_node_name, agent_run_id, seq
    UNION ALL
    -- What would come next, if a loss row knows of it.
    SELECT cluster, k8s_node_name, agent_run_id, max(range_last) + 1, NULL, NULL
    FROM ranges
    GROUP BY cluster, k8s_node_name, agent_run_id
),
steps AS (
    SELECT
        *,
        lag(seq) OVER run AS before_seq, lag(time) OVER run AS before_time, lag(file) OVER run AS before_file
    FROM seqs
    WINDOW run AS (PARTITION BY cluster, k8s_node_name, agent_run_id ORDER BY seq)
),
holes AS (
    SELECT
        cluster, k8s_node_name, agent_run_id,
        coalesce(before_seq, 0) + 1 AS first_seq, seq - 1 AS last_seq, seq - 1 - coalesce(before_seq, 0) AS missing,
        before_time, time AS after_time, before_file, file AS after_file
    FROM steps
    WHERE seq > coalesce(before_seq, 0) + 1
),
accounted AS (
    SELECT cluster, k8s_node_name, agent_run_id, sum(total) AS accounted
    FROM losses
    WHERE loss_stage IN ('queue', 'spool', 'collector', 'run')
    GROUP BY cluster, k8s_node_name, agent_run_id
),
reasons AS (
    SELECT
        h.cluster, h.k8s_node_name, h.agent_run_id, h.first_seq, string_agg(DISTINCT r.reason, ', ' ORDER BY r.reason) AS reasons
    FROM holes h
    JOIN ranges r ON r.cluster = h.cluster AND r.k8s_node_name = h.k8s_node_name AND r.agent_run_id = h.agent_run_id
        AND r.range_first <= h.last_seq AND r.range_last >= h.first_seq
    GROUP BY h.cluster, h.k8s_node_name, h.agent_run_id, h.first_seq
)
SELECT
    h.cluster, h.k8s_node_name, h.agent_run_id, h.first_seq, h.last_seq, h.missing, r.reasons, h.before_time, h.after_time,
    CAST(sum(h.missing) OVER run AS BIGINT) AS run_missing,
    CAST(coalesce(a.accounted, 0) AS BIGINT) AS run_accounted,
    CAST(greatest(sum(h.missing) OVER run - coalesce(a.accounted, 0), 0) AS BIGINT) AS unexplained,
    h.before_file, h.after_file
FROM holes h
LEFT JOIN accounted a ON a.cluster = h.cluster AND a.k8s_node_name = h.k8s_node_name AND a.agent_run_id = h.agent_run_id
LEFT JOIN reasons r ON r.cluster = h.cluster AND r.k8s_node_name = h.k8s_node_name AND r.agent_run_id = h.agent_run_id
    AND r.first_seq = h.first_seq
WINDOW run AS (PARTITION BY h.cluster, h.k8s_node_name, h.agent_run_id);
