/* SPDX-License-Identifier: Apache-2.0 */
#include "tap.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const ring_names[KT_RING_COUNT] = { "kt_ring_control", "kt_ring_process", "kt_ring_events" };

static int set_sizes(struct kt_tap *tap, const struct kt_map_size *sizes, int count)
{
	for (int i = 0; i < count; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(tap->core, sizes[i].name);

		if (!map) {
			kt_log_append(&tap->log, "no such map: ", 13);
			kt_log_append(&tap->log, sizes[i].name, strlen(sizes[i].name));
			return -ENOENT;
		}
		int err = bpf_map__set_max_entries(map, sizes[i].max_entries);
		if (err)
			return err;
	}
	return 0;
}

static int map_rings(struct kt_tap *tap)
{
	for (int i = 0; i < KT_RING_COUNT; i++) {
		const struct bpf_map *map;
		int err = kt_tap_map(tap, ring_names[i], &map);

		if (!err)
			err = kt_ring_map(&tap->drain.rings[i], bpf_map__fd(map), bpf_map__max_entries(map));
		if (err)
			return err;
	}
	return 0;
}

static int prepare_counters(struct kt_tap *tap)
{
	const struct bpf_map *map;
	int err = kt_tap_map(tap, "kt_counters", &map);

	if (err)
		return err;
	if (bpf_map__type(map) != BPF_MAP_TYPE_PERCPU_ARRAY || bpf_map__value_size(map) % sizeof(uint64_t) != 0)
		return -EINVAL;
	tap->counters_fd = bpf_map__fd(map);
	tap->counter_entries = bpf_map__max_entries(map);
	tap->counter_words = bpf_map__value_size(map) / sizeof(uint64_t);
	tap->counter_values = calloc(tap->counter_entries, kt_tap_value_size(tap, map));
	tap->counter_keys = calloc(tap->counter_entries, sizeof(uint32_t));
	return tap->counter_values && tap->counter_keys ? 0 : -ENOMEM;
}

/* Keeps the object and its programs with autoload on; closes it when there is no room. */
static int keep(struct kt_tap *tap, struct bpf_object *object)
{
	struct bpf_program *program;
	int count = tap->program_count;

	if (tap->object_count == KT_OBJECTS_MAX)
		goto full;
	bpf_object__for_each_program(program, object)
	{
		if (!bpf_program__autoload(program))
			continue;
		if (count == KT_PROGRAMS_MAX)
			goto full;
		tap->programs[count++] = (struct kt_program){ .object = object, .program = program };
	}
	tap->program_count = count;
	tap->objects[tap->object_count++] = object;
	return 0;
full:
	bpf_object__close(object);
	return -E2BIG;
}

static int open_core(struct kt_tap *tap, const char *path, const struct kt_map_size *sizes, int size_count)
{
	tap->cpus = libbpf_num_possible_cpus();
	if (tap->cpus <= 0)
		return tap->cpus < 0 ? tap->cpus : -EINVAL;
	tap->core = bpf_object__open_file(path, NULL);
	if (!tap->core)
		return -errno;
	int err = set_sizes(tap, sizes, size_count);
	if (!err)
		err = bpf_object__load(tap->core);
	if (err) {
		bpf_object__close(tap->core);
		return err;
	}
	err = keep(tap, tap->core);
	if (!err)
		err = map_rings(tap);
	if (!err)
		err = prepare_counters(tap);
	return err;
}

int kt_tap_open(struct kt_tap *tap, const char *path, const struct kt_map_size *sizes, int size_count)
{
	memset(tap, 0, sizeof(*tap));
	kt_drain_init(&tap->drain);
	kt_log_begin(&tap->log);
	int err = open_core(tap, path, sizes, size_count);
	kt_log_end();
	if (err)
		kt_tap_close(tap);
	return err;
}

void kt_tap_close(struct kt_tap *tap)
{
	for (int i = 0; i < tap->program_count; i++)
		bpf_link__destroy(tap->programs[i].link);
	tap->program_count = 0;
	for (int i = 0; i < KT_RING_COUNT; i++)
		kt_ring_unmap(&tap->drain.rings[i]);
	while (tap->object_count > 0)
		bpf_object__close(tap->objects[--tap->object_count]);
	free(tap->counter_values);
	free(tap->counter_keys);
	tap->counter_values = NULL;
	tap->counter_keys = NULL;
	tap->core = NULL;
}

struct kt_program *kt_tap_find(struct kt_tap *tap, const char *name)
{
	for (int i = 0; i < tap->program_count; i++) {
		if (strcmp(bpf_program__name(tap->programs[i].program), name) == 0)
			return &tap->programs[i];
	}
	return NULL;
}

static int select_programs(struct bpf_object *object, const char *const *names, int count)
{
	struct bpf_program *program;

	bpf_object__for_each_program(program, object) bpf_program__set_autoload(program, false);
	for (int i = 0; i < count; i++) {
		program = bpf_object__find_program_by_name(object, names[i]);
		if (!program)
			return -ENOENT;
		bpf_program__set_autoload(program, true);
	}
	return 0;
}

static int reuse_maps(struct kt_tap *tap, struct bpf_object *object)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, object)
	{
		const struct bpf_map *shared;

		if (bpf_map__is_internal(map) || kt_tap_map(tap, bpf_map__name(map), &shared) != 0)
			continue;
		int err = bpf_map__reuse_fd(map, bpf_map__fd(shared));
		if (err)
			return err;
	}
	return 0;
}

static int load(struct kt_tap *tap, const char *path, const char *const *names, int count)
{
	for (int i = 0; i < count; i++) {
		if (kt_tap_find(tap, names[i]))
			return -EEXIST;
	}
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	if (!object)
		return -errno;
	int err = select_programs(object, names, count);
	if (!err)
		err = reuse_maps(tap, object);
	if (!err)
		err = bpf_object__load(object);
	if (err) {
		bpf_object__close(object);
		return err;
	}
	return keep(tap, object);
}

int kt_tap_load(struct kt_tap *tap, const char *path, const char *const *names, int count)
{
	kt_log_begin(&tap->log);
	int err = load(tap, path, names, count);
	kt_log_end();
	return err;
}

int kt_tap_attach(struct kt_tap *tap, const char *name)
{
	struct kt_program *found = kt_tap_find(tap, name);

	if (!found)
		return -ENOENT;
	if (found->link)
		return -EALREADY;
	kt_log_begin(&tap->log);
	found->link = bpf_program__attach(found->program);
	int err = found->link ? 0 : -errno;
	kt_log_end();
	return err;
}

int kt_tap_detach(struct kt_tap *tap, const char *name)
{
	struct kt_program *found = kt_tap_find(tap, name);

	if (!found)
		return -ENOENT;
	if (!found->link)
		return -EALREADY;
	int err = bpf_link__destroy(found->link);
	found->link = NULL;
	return err;
}
