/* SPDX-License-Identifier: Apache-2.0 */
#include "drain.h"

#include <string.h>

void kt_drain_init(struct kt_drain *drain)
{
	memset(drain, 0, sizeof(*drain));
	drain->phase = KT_RING_COUNT;
}

static void begin_round(struct kt_drain *drain)
{
	/* The order of these loads is the order guarantee: dependents first (each load is an acquire). */
	drain->until[KT_RING_EVENTS] = kt_ring_producer(&drain->rings[KT_RING_EVENTS]);
	drain->until[KT_RING_PROCESS] = kt_ring_producer(&drain->rings[KT_RING_PROCESS]);
	drain->until[KT_RING_CONTROL] = kt_ring_producer(&drain->rings[KT_RING_CONTROL]);
	drain->phase = KT_RING_CONTROL;
}

size_t kt_drain_read(struct kt_drain *drain, uint8_t *out, size_t cap)
{
	size_t used = 0;

	if (drain->phase == KT_RING_COUNT)
		begin_round(drain);
	while (drain->phase < KT_RING_COUNT) {
		int ring = drain->phase;
		enum kt_ring_stop stop = kt_ring_read(&drain->rings[ring], drain->until[ring], out, cap, &used);

		if (stop == KT_RING_FULL)
			break;
		/* Nothing depends on the events ring: an uncommitted record there only ends the round. */
		if (stop == KT_RING_BUSY && ring != KT_RING_EVENTS)
			break;
		drain->phase++;
	}
	return used;
}
