/* SPDX-License-Identifier: Apache-2.0 */
/* The order across rings: no record before one that it depends on. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include "drain.h"
#include "fake_ring.h"

#define SIZE 65536
#define HEAD ((uint32_t)sizeof(struct kt_head))

static struct kt_drain drain;
static struct fake_ring fakes[KT_RING_COUNT];
static uint8_t out[8192];
static uint64_t got[256];
static int got_count;

/* A record's tag tells its ring: 1000s control, 2000s process, 3000s events. */
#define CONTROL(n) (1000 + (n))
#define PROCESS(n) (2000 + (n))
#define EVENT(n) (3000 + (n))

static void begin(void)
{
	kt_drain_init(&drain);
	for (int i = 0; i < KT_RING_COUNT; i++)
		fake_ring_open(&fakes[i], &drain.rings[i], SIZE);
}

static void end(void)
{
	for (int i = 0; i < KT_RING_COUNT; i++)
		fake_ring_close(&fakes[i], &drain.rings[i]);
}

static struct fake_ring *ring_of(uint64_t tag)
{
	return &fakes[tag / 1000 - 1];
}

static void put(uint64_t tag)
{
	CHECK(fake_put(ring_of(tag), HEAD, tag));
}

static void read_tags(size_t cap)
{
	size_t used = kt_drain_read(&drain, out, cap), at = 0;

	got_count = 0;
	while (at < used) {
		struct kt_head head;

		memcpy(&head, out + at, sizeof(head));
		got[got_count++] = head.ktime;
		at += check_record(out + at, used - at, head.ktime);
	}
}

#define EXPECT(cap, ...)                                                              \
	do {                                                                          \
		const uint64_t tags_[] = { 0, ##__VA_ARGS__ };                        \
		read_tags(cap);                                                       \
		CHECK_EQ(got_count, sizeof(tags_) / sizeof(tags_[0]) - 1);            \
		for (int i_ = 0; i_ < got_count; i_++)                                \
			CHECK_EQ(got[i_], tags_[i_ + 1]);                             \
	} while (0)

static void control_then_process_then_events(void)
{
	begin();
	put(EVENT(1));
	put(PROCESS(1));
	put(CONTROL(1));
	put(EVENT(2));
	EXPECT(sizeof(out), CONTROL(1), PROCESS(1), EVENT(1), EVENT(2));
	EXPECT(sizeof(out));
	end();
}

/* The consumer pauses between two rings (its buffer is full) and a cgroup is made, a process run and a file opened in it. */
static void what_appears_during_a_round_waits_for_the_next(void)
{
	for (int pause = 1; pause <= 3; pause++) {
		begin();
		put(CONTROL(1));
		put(PROCESS(1));
		put(EVENT(1));
		for (int i = 0; i < pause; i++) {
			read_tags(HEAD);
			CHECK_EQ(got_count, 1);
			CHECK_EQ(got[0] / 1000, i + 1);
		}
		put(CONTROL(2));
		put(PROCESS(2));
		put(EVENT(2));
		if (pause == 1)
			EXPECT(sizeof(out), PROCESS(1), EVENT(1));
		if (pause == 2)
			EXPECT(sizeof(out), EVENT(1));
		EXPECT(sizeof(out), CONTROL(2), PROCESS(2), EVENT(2));
		end();
	}
}

static void a_full_buffer_does_not_starve_the_events(void)
{
	begin();
	put(EVENT(1));
	for (int i = 0; i < 4; i++)
		put(PROCESS(i));
	EXPECT(2 * HEAD, PROCESS(0), PROCESS(1));
	for (int i = 4; i < 100; i++)
		put(PROCESS(i));
	EXPECT(3 * HEAD, PROCESS(2), PROCESS(3), EVENT(1));
	end();
}

static void an_uncommitted_record_holds_back_what_may_depend_on_it(void)
{
	for (uint64_t tag = CONTROL(1); tag <= PROCESS(1); tag += 1000) {
		begin();
		unsigned long busy = fake_record(ring_of(tag), HEAD, HEAD, tag);

		put(EVENT(1));
		EXPECT(sizeof(out));
		put(EVENT(2));
		EXPECT(sizeof(out));
		fake_commit(ring_of(tag), busy, false);
		EXPECT(sizeof(out), tag, EVENT(1));
		EXPECT(sizeof(out), EVENT(2));
		end();
	}
}

static void an_uncommitted_event_holds_back_only_later_events(void)
{
	begin();
	put(EVENT(1));
	unsigned long busy = fake_record(ring_of(EVENT(2)), HEAD, HEAD, EVENT(2));
	put(EVENT(3));
	EXPECT(sizeof(out), EVENT(1));
	put(PROCESS(1));
	EXPECT(sizeof(out), PROCESS(1));
	fake_commit(ring_of(EVENT(2)), busy, false);
	EXPECT(sizeof(out), EVENT(2), EVENT(3));
	end();
}

static void bad_records_do_not_stop_a_round(void)
{
	begin();
	fake_commit(ring_of(CONTROL(1)), fake_record(ring_of(CONTROL(1)), HEAD, HEAD + 8, CONTROL(1)), false);
	fake_commit(ring_of(PROCESS(1)), fake_record(ring_of(PROCESS(1)), 24, 24, PROCESS(1)), false);
	put(EVENT(1));
	EXPECT(sizeof(out), EVENT(1));
	CHECK_EQ(drain.rings[KT_RING_CONTROL].bad_records, 1);
	CHECK_EQ(drain.rings[KT_RING_PROCESS].bad_records, 1);
	end();
}

/*
 * A whole chain (cgroup, process, event) appears just before one of the positions is noted: the page that holds it is
 * made unreadable, and the fault writes the chain.
 */
static void *guarded;

static void on_fault(int signal)
{
	(void)signal;
	CHECK(guarded != NULL);
	CHECK(mprotect(guarded, (size_t)sysconf(_SC_PAGESIZE), PROT_READ) == 0);
	guarded = NULL;
	put(CONTROL(2));
	put(PROCESS(2));
	put(EVENT(2));
}

static void order_holds_wherever_a_chain_appears_while_positions_are_noted(void)
{
	struct sigaction action = { .sa_handler = on_fault }, before;

	CHECK(sigaction(SIGSEGV, &action, &before) == 0);
	for (int ring = 0; ring < KT_RING_COUNT; ring++) {
		int control_at = -1, process_at = -1, event_at = -1, seen = 0;

		begin();
		put(EVENT(1));
		guarded = drain.rings[ring].producer_map;
		CHECK(mprotect(guarded, (size_t)sysconf(_SC_PAGESIZE), PROT_NONE) == 0);
		for (int call = 0; call < 3; call++) {
			read_tags(sizeof(out));
			for (int i = 0; i < got_count; i++, seen++) {
				control_at = got[i] == CONTROL(2) ? seen : control_at;
				process_at = got[i] == PROCESS(2) ? seen : process_at;
				event_at = got[i] == EVENT(2) ? seen : event_at;
			}
		}
		CHECK(guarded == NULL);
		CHECK_EQ(seen, 4);
		CHECK(control_at >= 0 && control_at < process_at && process_at < event_at);
		end();
	}
	CHECK(sigaction(SIGSEGV, &before, NULL) == 0);
}

/* A kernel that writes while the consumer reads: n is in control, then process, then events. */
#define CHAINS 20000

static void *produce(void *unused)
{
	(void)unused;
	for (uint64_t n = 1; n <= CHAINS; n++) {
		for (int ring = 0; ring < KT_RING_COUNT; ring++) {
			unsigned long pos;

			while ((pos = fake_record(&fakes[ring], HEAD + n % 50, (uint32_t)(HEAD + n % 50), n)) == FAKE_FULL)
				sched_yield();
			if (n % 64 == 0)
				sched_yield(); /* reserved, not committed */
			fake_commit(&fakes[ring], pos, false);
		}
	}
	return NULL;
}

static void order_holds_against_a_concurrent_producer(void)
{
	pthread_t thread;
	uint64_t last[KT_RING_COUNT] = { 0 };

	begin();
	CHECK(pthread_create(&thread, NULL, produce, NULL) == 0);
	for (unsigned call = 0; last[KT_RING_EVENTS] < CHAINS; call++) {
		size_t cap = call % 3 ? 512 + call % 1024 : sizeof(out);
		size_t used = kt_drain_read(&drain, out, cap), at = 0;

		if (!used)
			sched_yield();
		while (at < used) {
			struct kt_head head;
			int ring = KT_RING_CONTROL;

			/* The records of one number differ in their ring only: the next one missing is meant. */
			memcpy(&head, out + at, sizeof(head));
			while (ring < KT_RING_COUNT && head.ktime != last[ring] + 1)
				ring++;
			CHECK(ring < KT_RING_COUNT);
			last[ring] = head.ktime;
			CHECK(last[KT_RING_EVENTS] <= last[KT_RING_PROCESS]);
			CHECK(last[KT_RING_PROCESS] <= last[KT_RING_CONTROL]);
			at += check_record(out + at, used - at, head.ktime);
		}
	}
	CHECK(pthread_join(thread, NULL) == 0);
	CHECK_EQ(last[KT_RING_PROCESS], CHAINS);
	CHECK_EQ(last[KT_RING_CONTROL], CHAINS);
	end();
}

int main(void)
{
	control_then_process_then_events();
	what_appears_during_a_round_waits_for_the_next();
	a_full_buffer_does_not_starve_the_events();
	an_uncommitted_record_holds_back_what_may_depend_on_it();
	an_uncommitted_event_holds_back_only_later_events();
	bad_records_do_not_stop_a_round();
	order_holds_wherever_a_chain_appears_while_positions_are_noted();
	order_holds_against_a_concurrent_producer();
	printf("drain_test: ok\n");
	return 0;
}
