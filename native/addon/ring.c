/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../record.h"

static size_t round_up_8(size_t n)
{
	return (n + 7) & ~(size_t)7;
}

int kt_ring_map(struct kt_ring *ring, int fd, unsigned long size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	memset(ring, 0, sizeof(*ring));
	if (size < page || (size & (size - 1)) != 0)
		return -EINVAL;
	void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (consumer == MAP_FAILED)
		return -errno;
	/* Once, although the kernel offers the data twice in a row: a second view counts as memory of this process again. */
	void *producer = mmap(NULL, page + size, PROT_READ, MAP_SHARED, fd, (off_t)page);
	if (producer == MAP_FAILED) {
		int err = -errno;

		munmap(consumer, page);
		return err;
	}
	ring->consumer_map = consumer;
	ring->producer_map = producer;
	ring->page = page;
	ring->consumer = consumer;
	ring->producer = producer;
	ring->data = (const uint8_t *)producer + page;
	ring->size = size;
	return 0;
}

void kt_ring_unmap(struct kt_ring *ring)
{
	if (ring->consumer_map)
		munmap(ring->consumer_map, ring->page);
	if (ring->producer_map)
		munmap(ring->producer_map, ring->page + ring->size);
	memset(ring, 0, sizeof(*ring));
}

unsigned long kt_ring_producer(const struct kt_ring *ring)
{
	return __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE);
}

unsigned long kt_ring_consumer(const struct kt_ring *ring)
{
	return __atomic_load_n(ring->consumer, __ATOMIC_RELAXED);
}

/* Bytes from a position on, also across the ring's end. Lengths of records are bounded by positions, so n <= size. */
static void copy_out(const struct kt_ring *ring, unsigned long pos, void *out, size_t n)
{
	size_t at = pos & (ring->size - 1);
	size_t first = n < ring->size - at ? n : ring->size - at;

	memcpy(out, ring->data + at, first);
	memcpy((uint8_t *)out + first, ring->data, n - first);
}

static bool is_whole(const struct kt_ring *ring, unsigned long pos, size_t len)
{
	struct kt_head head;

	if (len < sizeof(head) || len > KT_RECORD_MAX || len > ring->size)
		return false;
	copy_out(ring, pos, &head, sizeof(head));
	return head.len == len;
}

enum kt_ring_stop kt_ring_read(struct kt_ring *ring, unsigned long until, uint8_t *out, size_t cap, size_t *used)
{
	unsigned long pos = kt_ring_consumer(ring);
	enum kt_ring_stop stop = KT_RING_DONE;

	while ((long)(until - pos) > 0) {
		const uint8_t *header = ring->data + (pos & (ring->size - 1));
		uint32_t word = __atomic_load_n((const uint32_t *)(const void *)header, __ATOMIC_ACQUIRE);

		if (word & BPF_RINGBUF_BUSY_BIT) {
			stop = KT_RING_BUSY;
			break;
		}
		size_t len = word & ~(BPF_RINGBUF_BUSY_BIT | BPF_RINGBUF_DISCARD_BIT);
		size_t taken = round_up_8(len + BPF_RINGBUF_HDR_SZ);

		if (taken > until - pos) {
			/* Positions are record boundaries: past here nothing can be trusted. */
			ring->bad_records++;
			pos = until;
			break;
		}
		if (!(word & BPF_RINGBUF_DISCARD_BIT)) {
			unsigned long record = pos + BPF_RINGBUF_HDR_SZ;
			size_t padded = round_up_8(len);

			if (padded > cap || !is_whole(ring, record, len)) {
				ring->bad_records++;
			} else if (padded > cap - *used) {
				stop = KT_RING_FULL;
				break;
			} else {
				copy_out(ring, record, out + *used, len);
				memset(out + *used + len, 0, padded - len);
				*used += padded;
			}
		}
		pos += taken;
	}
	__atomic_store_n(ring->consumer, pos, __ATOMIC_RELEASE);
	return stop;
}
