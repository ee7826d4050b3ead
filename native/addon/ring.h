/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Consumer of one BPF ring buffer. Layout of the memory as in kernel/bpf/ringbuf.c and libbpf's ringbuf.c: a page with
 * the consumer's position, a page with the producer's, then the data. A record may go on from its end to its
 * beginning.
 */
#ifndef KT_RING_H
#define KT_RING_H

#include <stddef.h>
#include <stdint.h>

struct kt_ring {
	const unsigned long *producer; /* written by the kernel */
	unsigned long *consumer;       /* written by us */
	const uint8_t *data;	       /* size bytes */
	unsigned long size;	       /* bytes; a power of two */
	uint64_t bad_records;	       /* skipped: see kt_ring_read */
	void *consumer_map;	       /* what kt_ring_map mapped, for kt_ring_unmap */
	void *producer_map;
	size_t page;
};

enum kt_ring_stop {
	KT_RING_DONE, /* reached `until` */
	KT_RING_BUSY, /* the next record is reserved but not committed */
	KT_RING_FULL, /* the next record does not fit into what is left of the buffer */
};

/* Maps the ring behind map `fd` of `size` bytes. 0 or -errno. */
int kt_ring_map(struct kt_ring *ring, int fd, unsigned long size);
void kt_ring_unmap(struct kt_ring *ring);

/* Where the producer stands now: every record before it is at least reserved. */
unsigned long kt_ring_producer(const struct kt_ring *ring);
unsigned long kt_ring_consumer(const struct kt_ring *ring);

/*
 * Copies whole records before position `until` to out[*used..cap), each padded with zeros to 8 bytes, and frees their
 * place in the ring. Discarded records are skipped. A record is skipped and counted in bad_records when it is shorter
 * than struct kt_head, longer than KT_RECORD_MAX or than the whole buffer, or says another length than the ring does.
 */
enum kt_ring_stop kt_ring_read(struct kt_ring *ring, unsigned long until, uint8_t *out, size_t cap, size_t *used);

#endif
