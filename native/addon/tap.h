/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One tap: the core object with every map, the family objects that reuse those maps, links by program, and the rings.
 * Functions return 0 or -errno; what libbpf said about a failure is in `log`. Not safe for use by two threads at once.
 */
#ifndef KT_TAP_H
#define KT_TAP_H

#include <bpf/libbpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "drain.h"
#include "log.h"

#define KT_OBJECTS_MAX 64  /* loaded at once */
#define KT_PROGRAMS_MAX 256 /* in all of them */

struct kt_program {
	struct bpf_object *object;
	struct bpf_program *program;
	struct bpf_link *link; /* NULL: detached */
};

struct kt_tap {
	struct bpf_object *core; /* NULL: closed */
	struct bpf_object *objects[KT_OBJECTS_MAX]; /* core first */
	int object_count;
	struct kt_program programs[KT_PROGRAMS_MAX];
	int program_count;
	struct kt_drain drain;
	int cpus;
	int counters_fd;
	uint32_t counter_entries;
	uint32_t counter_words;   /* u64 in one entry */
	uint64_t *counter_values; /* entries * cpus * words */
	uint32_t *counter_keys;
	bool no_batch; /* the kernel has no batched look-up for this map */
	struct kt_log log;
};

struct kt_map_size {
	const char *name;
	uint32_t max_entries;
};

struct kt_program_info {
	const char *name;
	bool attached;
	bool has_misses; /* the kernel tells recursion_misses (>= 5.12) */
	uint64_t run_count; /* 0 unless sysctl kernel.bpf_stats_enabled is set */
	uint64_t run_time_ns;
	uint64_t recursion_misses;
};

/* Loads the core object at `path` and maps its three rings. On failure the tap is closed and keeps its log. */
int kt_tap_open(struct kt_tap *tap, const char *path, const struct kt_map_size *sizes, int size_count);
/* Destroys links, objects and rings; harmless when closed. */
void kt_tap_close(struct kt_tap *tap);

/*
 * Loads the named programs, and no others, of the object at `path`. Maps are one name space: the object uses those that
 * an object before it made, so that programs which share a map may be loaded one by one. -EEXIST: one is loaded already.
 */
int kt_tap_load(struct kt_tap *tap, const char *path, const char *const *names, int count);

/* NULL: not loaded. */
struct kt_program *kt_tap_find(struct kt_tap *tap, const char *name);

/* -ENOENT: no such program is loaded; -EALREADY: it is attached (or, to detach: is not). */
int kt_tap_attach(struct kt_tap *tap, const char *name);
int kt_tap_detach(struct kt_tap *tap, const char *name);

/* Runs an iterator program over everything there is. */
int kt_tap_run_iterator(struct kt_tap *tap, const char *name);
/* Runs a raw_tp program once, in the caller's context (>= 5.10). */
int kt_tap_test_run(struct kt_tap *tap, const char *name);

int kt_tap_program_info(const struct kt_tap *tap, int index, struct kt_program_info *info);

/* A map of any object by name; -ENOENT. */
int kt_tap_map(const struct kt_tap *tap, const char *name, const struct bpf_map **map);
/* Bytes of one value as a look-up returns it: per-CPU maps return one rounded to 8 bytes for each possible CPU. */
size_t kt_tap_value_size(const struct kt_tap *tap, const struct bpf_map *map);

/* Sums the u64 of map kt_counters over CPUs into sums[0..count), in the order of keys and words. -EINVAL: not so many. */
int kt_tap_counters(struct kt_tap *tap, uint64_t *sums, uint32_t count);

#endif
