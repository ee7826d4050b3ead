/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring in a memory file, laid out as the kernel's, with the kernel's side of it: reserve, commit, discard
 * (kernel/bpf/ringbuf.c). kt_ring_map maps its file descriptor as it would a BPF map's.
 */
#ifndef KT_FAKE_RING_H
#define KT_FAKE_RING_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "check.h"
#include "record.h"
#include "ring.h"

struct fake_ring {
	unsigned long size;
	unsigned long *consumer;
	unsigned long *producer;
	uint8_t *data;
	size_t page;
};

/* Maps the ring's file twice: for the producer here, for the consumer through `ring`. */
static inline void fake_ring_open(struct fake_ring *fake, struct kt_ring *ring, unsigned long size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	int fd = memfd_create("ring", MFD_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(ftruncate(fd, (off_t)(2 * page + size)) == 0);
	uint8_t *all = mmap(NULL, 2 * page + size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(all != MAP_FAILED);
	CHECK(kt_ring_map(ring, fd, size) == 0);
	close(fd);
	*fake = (struct fake_ring){ size, (unsigned long *)(void *)all, (unsigned long *)(void *)(all + page),
				    all + 2 * page, page };
}

static inline void fake_ring_close(struct fake_ring *fake, struct kt_ring *ring)
{
	kt_ring_unmap(ring);
	munmap(fake->consumer, 2 * fake->page + fake->size);
}

static inline uint32_t *fake_header(struct fake_ring *fake, unsigned long pos)
{
	return (uint32_t *)(void *)(fake->data + (pos & (fake->size - 1)));
}

#define FAKE_FULL 1UL /* no position: those are multiples of 8 */

/* Room for len bytes, BUSY until committed. Returns the record's position or FAKE_FULL. */
static inline unsigned long fake_reserve(struct fake_ring *fake, uint32_t len)
{
	unsigned long pos = *fake->producer;
	unsigned long taken = ((unsigned long)len + BPF_RINGBUF_HDR_SZ + 7) & ~7UL;

	if (pos + taken - __atomic_load_n(fake->consumer, __ATOMIC_ACQUIRE) > fake->size - 1)
		return FAKE_FULL;
	fake_header(fake, pos)[0] = len | BPF_RINGBUF_BUSY_BIT;
	fake_header(fake, pos)[1] = 0;
	__atomic_store_n(fake->producer, pos + taken, __ATOMIC_RELEASE);
	return pos;
}

static inline void fake_commit(struct fake_ring *fake, unsigned long pos, bool discard)
{
	uint32_t *header = fake_header(fake, pos);
	uint32_t len = header[0] & ~BPF_RINGBUF_BUSY_BIT;

	__atomic_store_n(header, len | (discard ? BPF_RINGBUF_DISCARD_BIT : 0), __ATOMIC_RELEASE);
}

/* Bytes into a reserved record, wrapping as the double mapping does. */
static inline void fake_write(struct fake_ring *fake, unsigned long pos, uint32_t offset, const void *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++) {
		unsigned long at = pos + BPF_RINGBUF_HDR_SZ + offset + i;

		fake->data[at & (fake->size - 1)] = ((const uint8_t *)bytes)[i];
	}
}

/* A record whose head says `says` bytes, tagged in ktime, with a body that depends on the tag. Not committed. */
static inline unsigned long fake_record(struct fake_ring *fake, uint32_t len, uint32_t says, uint64_t tag)
{
	unsigned long pos = fake_reserve(fake, len);

	if (pos == FAKE_FULL)
		return pos;
	for (uint32_t i = 0; i < ((len + 7) & ~7U); i++) { /* the padding is what was there: not zero */
		uint8_t byte = (uint8_t)(tag * 31 + i);

		fake_write(fake, pos, i, &byte, 1);
	}
	if (len >= sizeof(struct kt_head)) {
		struct kt_head head = { .len = says, .version = KT_RECORD_VERSION, .kind = KT_FILE_OPEN, .ktime = tag };

		fake_write(fake, pos, 0, &head, sizeof(head));
	}
	return pos;
}

/* A good record, committed. False: full. */
static inline bool fake_put(struct fake_ring *fake, uint32_t len, uint64_t tag)
{
	unsigned long pos = fake_record(fake, len, len, tag);

	if (pos == FAKE_FULL)
		return false;
	fake_commit(fake, pos, false);
	return true;
}

/* Checks one drained record against its tag and returns its padded length. */
static inline size_t check_record(const uint8_t *record, size_t rest, uint64_t tag)
{
	struct kt_head head;

	CHECK(rest >= sizeof(head));
	memcpy(&head, record, sizeof(head));
	CHECK_EQ(head.ktime, tag);
	size_t padded = ((size_t)head.len + 7) & ~(size_t)7;
	CHECK(padded <= rest);
	for (size_t i = sizeof(head); i < padded; i++)
		CHECK_EQ(record[i], i < head.len ? (uint8_t)(tag * 31 + i) : 0);
	return padded;
}

#endif
