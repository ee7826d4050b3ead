/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drains the three rings so that a record never overtakes one that it depends on: cgroups before the processes in them,
 * processes before what they do. A round notes the producer's position of the dependent rings first, then empties the
 * ones they depend on: whatever an event before the note depends on was reserved before it, so it is met first.
 */
#ifndef KT_DRAIN_H
#define KT_DRAIN_H

#include "ring.h"

#define KT_DRAIN_MIN 128 /* the shortest buffer that makes sense: one head */

enum kt_ring_index { KT_RING_CONTROL, KT_RING_PROCESS, KT_RING_EVENTS, KT_RING_COUNT };

struct kt_drain {
	struct kt_ring rings[KT_RING_COUNT];
	unsigned long until[KT_RING_COUNT]; /* of the round under way */
	int phase;			    /* index of the ring being read; KT_RING_COUNT: no round under way */
};

void kt_drain_init(struct kt_drain *drain);

/*
 * Copies records into out[0..cap) and returns the bytes used; at most the rest of one round, so the work is bounded by
 * what the rings held when it began. A round that stopped at a full buffer, or at an uncommitted record in a ring that
 * others depend on, goes on in the next call from the same place with the same notes.
 */
size_t kt_drain_read(struct kt_drain *drain, uint8_t *out, size_t cap);

#endif
