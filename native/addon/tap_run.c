/* SPDX-License-Identifier: Apache-2.0 */
/* What is asked of loaded programs and maps: iterators, test runs, statistics, values, counters. */
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tap.h"

static int read_to_end(int fd)
{
	char ignored[4096];
	ssize_t got;

	do {
		got = read(fd, ignored, sizeof(ignored));
	} while (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)));
	return got < 0 ? -errno : 0;
}

static int run_iterator(struct bpf_program *program)
{
	struct bpf_link *link = bpf_program__attach_iter(program, NULL);

	if (!link)
		return -errno;
	int fd = bpf_iter_create(bpf_link__fd(link));
	int err = fd < 0 ? -errno : read_to_end(fd);
	if (fd >= 0)
		close(fd);
	bpf_link__destroy(link);
	return err;
}

int kt_tap_run_iterator(struct kt_tap *tap, const char *name)
{
	struct kt_program *found = kt_tap_find(tap, name);

	if (!found)
		return -ENOENT;
	kt_log_begin(&tap->log);
	int err = run_iterator(found->program);
	kt_log_end();
	return err;
}

int kt_tap_test_run(struct kt_tap *tap, const char *name)
{
	uint64_t context[12] = { 0 }; /* MAX_BPF_FUNC_ARGS: the most a raw tracepoint may take */
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = context, .ctx_size_in = sizeof(context));
	const struct kt_program *found = kt_tap_find(tap, name);

	if (!found)
		return -ENOENT;
	return bpf_prog_test_run_opts(bpf_program__fd(found->program), &options) < 0 ? -errno : 0;
}

int kt_tap_program_info(const struct kt_tap *tap, int index, struct kt_program_info *out)
{
	const struct kt_program *entry = &tap->programs[index];
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	memset(out, 0, sizeof(*out));
	out->name = bpf_program__name(entry->program);
	out->attached = entry->link != NULL;
	if (bpf_obj_get_info_by_fd(bpf_program__fd(entry->program), &info, &len) < 0)
		return -errno;
	out->run_count = info.run_cnt;
	out->run_time_ns = info.run_time_ns;
	/* The kernel writes back how much of the struct it knows. */
	out->has_misses = len >= offsetof(struct bpf_prog_info, recursion_misses) + sizeof(info.recursion_misses);
	out->recursion_misses = out->has_misses ? info.recursion_misses : 0;
	return 0;
}

int kt_tap_map(const struct kt_tap *tap, const char *name, const struct bpf_map **map)
{
	for (int i = 0; i < tap->object_count; i++) {
		*map = bpf_object__find_map_by_name(tap->objects[i], name);
		if (*map && bpf_map__fd(*map) >= 0)
			return 0;
	}
	return -ENOENT;
}

size_t kt_tap_value_size(const struct kt_tap *tap, const struct bpf_map *map)
{
	size_t size = bpf_map__value_size(map);

	switch (bpf_map__type(map)) {
	case BPF_MAP_TYPE_PERCPU_ARRAY:
	case BPF_MAP_TYPE_PERCPU_HASH:
	case BPF_MAP_TYPE_LRU_PERCPU_HASH:
		return ((size + 7) & ~(size_t)7) * (size_t)tap->cpus;
	default:
		return size;
	}
}

static int read_batch(struct kt_tap *tap)
{
	uint32_t cursor, count = tap->counter_entries;

	if (bpf_map_lookup_batch(tap->counters_fd, NULL, &cursor, tap->counter_keys, tap->counter_values, &count, NULL) < 0 &&
	    errno != ENOENT) /* ENOENT: the end was reached */
		return -errno;
	return count == tap->counter_entries ? 0 : -EIO;
}

static int read_each(struct kt_tap *tap)
{
	size_t words = (size_t)tap->counter_words * (size_t)tap->cpus; /* of one entry */

	for (uint32_t i = 0; i < tap->counter_entries; i++) {
		if (bpf_map_lookup_elem(tap->counters_fd, &i, tap->counter_values + i * words) < 0)
			return -errno;
	}
	return 0;
}

int kt_tap_counters(struct kt_tap *tap, uint64_t *sums, uint32_t count)
{
	int err = -ENOTSUP;

	if (count != tap->counter_entries * tap->counter_words)
		return -EINVAL;
	/* Batched look-up of per-CPU arrays: >= 5.13. Its result is in key order, from 0. */
	if (!tap->no_batch)
		err = read_batch(tap);
	if (err) {
		tap->no_batch = true;
		err = read_each(tap);
	}
	if (err)
		return err;
	const uint64_t *value = tap->counter_values;
	memset(sums, 0, count * sizeof(*sums));
	for (uint32_t entry = 0; entry < tap->counter_entries; entry++, sums += tap->counter_words) {
		for (int cpu = 0; cpu < tap->cpus; cpu++) {
			for (uint32_t word = 0; word < tap->counter_words; word++)
				sums[word] += *value++;
		}
	}
	return 0;
}
