/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Which acts become events: what is switched on, the policy of their cgroup, and budgets. */
#ifndef KT_ADMIT_H
#define KT_ADMIT_H

#include "tap.h"

/* key: cgroup id */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, u64);
	__type(value, struct kt_policy);
} kt_policies SEC(".maps");
/* key: container's root cgroup id, or the cgroup's own outside of containers; value: see bucket_take */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, u64);
	__type(value, u64);
} kt_buckets SEC(".maps");
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} kt_node_bucket SEC(".maps");

/* An act that reached a hook: who it concerns and whether it is wanted. */
struct kt_act {
	struct kt_counts *counts;
	struct kt_config *cfg;
	u64 cgroup_id;
	u32 weight;
	u32 kind;
	u32 refused; /* by the policy, or as the agent's own: the reason */
};

/* Takes one event from a bucket: `tat` is the boot time at which the events let through so far are paid for. */
INLINE int bucket_take(u64 *tat, u64 now, u64 interval, u64 ahead)
{
	u64 paid = *tat;

	if (paid < now) {
		*tat = now + interval;
		return 1;
	}
	if (paid - now > ahead)
		return 0;
	__sync_fetch_and_add(tat, interval);
	return 1;
}

/*
 * Is there budget for one more event, in its container and on the node? Files are shed first, processes last: each
 * family may run further ahead of the sustained rate than the one before it. What is shed is counted.
 */
INLINE int within_budget(struct kt_act *act)
{
	struct kt_config *cfg = act->cfg;
	u64 now, ahead, key, start = 0, *tat;
	struct kt_cgroup_info *info;
	u32 zero = 0;

	if (!cfg->container_interval_ns && !cfg->node_interval_ns)
		return 1;
	now = bpf_ktime_get_boot_ns();
	ahead = cfg->burst_ns;
	if (act->kind < KT_FILE_OPEN)
		ahead += ahead >> 1;
	else if (act->kind >= KT_SOCKET_CONNECT)
		ahead += ahead >> 2;
	if (cfg->container_interval_ns) {
		info = bpf_map_lookup_elem(&kt_cgroups, &act->cgroup_id);
		key = info && info->root_id ? info->root_id : act->cgroup_id;
		tat = bpf_map_lookup_elem(&kt_buckets, &key);
		if (!tat) {
			bpf_map_update_elem(&kt_buckets, &key, &start, BPF_NOEXIST);
			tat = bpf_map_lookup_elem(&kt_buckets, &key);
		}
		if (tat && !bucket_take(tat, now, cfg->container_interval_ns, ahead))
			goto shed;
	}
	if (cfg->node_interval_ns) {
		tat = bpf_map_lookup_elem(&kt_node_bucket, &zero);
		if (tat && !bucket_take(tat, now, cfg->node_interval_ns, ahead))
			goto shed;
	}
	return 1;
shed:
	count(act->counts, KT_LOST_BUDGET);
	return 0;
}

/*
 * What a cgroup's policy says of a kind: 0 wanted, with its weight; else the reason why not. Sampling is by process, so
 * that a kept process is complete: `key` is its start time, or where `task` is given that task's, read only if it is
 * asked for.
 */
INLINE u32 policy_refuses(struct kt_config *cfg, u32 bit, u64 cgroup_id, u64 key, const void *task, u32 *weight)
{
	struct kt_policy *policy;

	if (!cfg->policies)
		return 0;
	policy = bpf_map_lookup_elem(&kt_policies, &cgroup_id);
	if (!policy)
		return 0;
	if (policy->off & bit)
		return KT_FILTERED;
	if (policy->sample & bit && policy->sample_n > 1) {
		if (task)
			key = RD(task_struct, RD(task_struct, task, group_leader), start_boottime);
		/* Fibonacci hashing: start times alone are not fair in their low bits */
		if (((key * 0x9E3779B97F4A7C15ull) >> 32) % policy->sample_n)
			return KT_SAMPLED;
		*weight = policy->sample_n;
	}
	return 0;
}

/*
 * Counts the act as seen and decides by the policy of its cgroup, before anything else is read. Returns 1 if wanted.
 */
INLINE int admit_by(struct kt_act *act, u32 kind, u64 cgroup_id, u64 key, const void *task)
{
	u32 bit = 1u << (kind & 31);

	act->kind = kind;
	act->weight = 1;
	act->refused = 0;
	act->cgroup_id = cgroup_id;
	act->counts = counts_of(kind);
	act->cfg = config();
	if (!act->cfg)
		return 0;
	count(act->counts, KT_SEEN);
	if (!(act->cfg->enabled_kinds & bit)) {
		count(act->counts, KT_FILTERED);
		return 0;
	}
	act->refused = policy_refuses(act->cfg, bit, cgroup_id, key, task, &act->weight);
	if (act->refused) {
		count(act->counts, act->refused);
		return 0;
	}
	/* an open still has to pass its mode, which costs a path: it asks for itself */
	return kind == KT_FILE_OPEN || within_budget(act);
}

/* For acts that are no running task's: `key` is what they are sampled by. */
INLINE int admit_cgroup(struct kt_act *act, u32 kind, u64 cgroup_id, u64 key)
{
	return admit_by(act, kind, cgroup_id, key, NULL);
}

/*
 * Is a call that is being entered worth remembering? What is not wanted then costs no copy of its names. Where the policy
 * changes before the exit, that makes up for the entry as for one that was missed.
 */
INLINE int is_wanted(struct kt_config *cfg, u32 kind)
{
	struct task_struct *task = current_task();
	u32 weight;

	return !policy_refuses(cfg, 1u << kind, task_cgroup_id(task), 0, task, &weight);
}

/* Admission of the running task's act. `exclude_self`: file and socket acts of the agent are not events. */
INLINE int admit(struct kt_act *act, u32 kind, const void *task, int exclude_self)
{
	struct kt_config *cfg = config();

	if (exclude_self && cfg && cfg->self_tgid && cfg->self_tgid == (u32)(bpf_get_current_pid_tgid() >> 32)) {
		struct kt_counts *c = counts_of(kind);

		count(c, KT_SEEN);
		count(c, KT_SELF);
		act->refused = KT_SELF;
		return 0;
	}
	return admit_by(act, kind, task_cgroup_id(task), 0, task);
}

#endif
