/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>

#include "fake_ring.h"

#define SIZE 4096
#define HEAD ((uint32_t)sizeof(struct kt_head))

static struct fake_ring fake;
static struct kt_ring ring;
static uint8_t out[2 * KT_RECORD_MAX];

static enum kt_ring_stop read_all(size_t cap, size_t *used)
{
	return kt_ring_read(&ring, kt_ring_producer(&ring), out, cap, used);
}

static void expect(size_t used, const uint64_t *tags, int count)
{
	size_t at = 0;

	for (int i = 0; i < count; i++)
		at += check_record(out + at, used - at, tags[i]);
	CHECK_EQ(at, used);
}

static void an_empty_ring_gives_nothing(void)
{
	size_t used = 0;

	fake_ring_open(&fake, &ring, SIZE);
	CHECK(read_all(sizeof(out), &used) == KT_RING_DONE);
	CHECK_EQ(used, 0);
	fake_ring_close(&fake, &ring);
}

static void sizes_that_no_ring_has_are_refused(void)
{
	struct kt_ring none;

	CHECK(kt_ring_map(&none, -1, 0) == -EINVAL);
	CHECK(kt_ring_map(&none, -1, SIZE + 1) == -EINVAL);
	CHECK(kt_ring_map(&none, -1, 3 * SIZE) == -EINVAL);
	CHECK(kt_ring_map(&none, -1, SIZE) == -EBADF);
	kt_ring_unmap(&none);
}

static void records_of_odd_lengths_are_padded_with_zeros_and_freed(void)
{
	const uint64_t tags[] = { 1, 2, 3 };
	size_t used = 0;

	fake_ring_open(&fake, &ring, SIZE);
	CHECK(fake_put(&fake, HEAD, 1) && fake_put(&fake, HEAD + 1, 2) && fake_put(&fake, HEAD + 7, 3));
	CHECK(read_all(sizeof(out), &used) == KT_RING_DONE);
	CHECK_EQ(used, 3 * HEAD + 16);
	expect(used, tags, 3);
	CHECK_EQ(*fake.consumer, *fake.producer);
	fake_ring_close(&fake, &ring);
}

static void a_record_that_wraps_is_whole(void)
{
	fake_ring_open(&fake, &ring, SIZE);
	for (uint64_t tag = 0; tag < 200; tag++) {
		size_t used = 0;

		CHECK(fake_put(&fake, HEAD + 1003, tag));
		CHECK(read_all(sizeof(out), &used) == KT_RING_DONE);
		expect(used, &tag, 1);
	}
	CHECK_EQ(ring.bad_records, 0);
	fake_ring_close(&fake, &ring);
}

static void positions_may_overflow(void)
{
	fake_ring_open(&fake, &ring, SIZE);
	*fake.producer = *fake.consumer = 0UL - 3 * SIZE / 2;
	for (uint64_t tag = 0; tag < 50; tag++) {
		size_t used = 0;

		CHECK(fake_put(&fake, HEAD + 200, tag));
		CHECK(read_all(sizeof(out), &used) == KT_RING_DONE);
		expect(used, &tag, 1);
	}
	fake_ring_close(&fake, &ring);
}

static void an_uncommitted_record_stops_the_reader(void)
{
	const uint64_t tags[] = { 1, 2, 3 };
	size_t used = 0;

	fake_ring_open(&fake, &ring, SIZE);
	CHECK(fake_put(&fake, HEAD, 1));
	unsigned long busy = fake_record(&fake, HEAD, HEAD, 2);
	CHECK(busy != FAKE_FULL && fake_put(&fake, HEAD, 3));
	CHECK(read_all(sizeof(out), &used) == KT_RING_BUSY);
	expect(used, tags, 1);
	CHECK_EQ(*fake.consumer, busy);
	fake_commit(&fake, busy, false);
	used = 0;
	CHECK(read_all(sizeof(out), &used) == KT_RING_DONE);
	expect(used, tags + 1, 2);
	fake_ring_close(&fake, &ring);
}

static void a_discarded_record_is_passed_over(void)
{
	const uint64_t tags[] = { 1, 3 };
	size_t used = 0;

	fake_ring_open(&fake, &ring, SIZE);
	CHECK(fake_put(&fake, HEAD, 1));
	fake_commit(&fake, fake_record(&fake, HEAD, HEAD, 2), true);
	fake_commit(&fake, fake_reserve(&fake, 3), true); /* whatever its length */
	CHECK(fake_put(&fake, HEAD, 3));
	CHECK(read_all(sizeof(out), &used) == KT_RING_DONE);
	expect(used, tags, 2);
	CHECK_EQ(ring.bad_records, 0);
	fake_ring_close(&fake, &ring);
}

static void a_full_buffer_stops_before_the_record(void)
{
	const uint64_t tags[] = { 1, 2 };
	size_t used = 0;

	fake_ring_open(&fake, &ring, SIZE);
	CHECK(fake_put(&fake, HEAD + 8, 1) && fake_put(&fake, HEAD + 1, 2));
	CHECK(read_all(2 * HEAD + 8, &used) == KT_RING_FULL);
	expect(used, tags, 1);
	used = 0;
	CHECK(read_all(HEAD + 8, &used) == KT_RING_DONE);
	expect(used, tags + 1, 1);
	CHECK_EQ(ring.bad_records, 0);
	fake_ring_close(&fake, &ring);
}

static void a_bad_record_is_counted_and_passed_over(void)
{
	const uint64_t tags[] = { 7 };
	size_t used = 0;

	fake_ring_open(&fake, &ring, 4 * KT_RECORD_MAX);
	fake_commit(&fake, fake_record(&fake, HEAD, HEAD + 1, 1), false); /* says more than it is */
	fake_commit(&fake, fake_record(&fake, HEAD + 8, HEAD, 2), false); /* says less */
	fake_commit(&fake, fake_record(&fake, HEAD - 1, HEAD - 1, 3), false); /* shorter than a head */
	fake_commit(&fake, fake_record(&fake, 0, 0, 4), false);
	fake_commit(&fake, fake_record(&fake, KT_RECORD_MAX + 1, KT_RECORD_MAX + 1, 5), false);
	CHECK(fake_put(&fake, KT_RECORD_MAX, 6)); /* longer than this reader's buffer */
	CHECK(fake_put(&fake, HEAD, 7));
	CHECK(read_all(KT_RECORD_MAX - 8, &used) == KT_RING_DONE);
	expect(used, tags, 1);
	CHECK_EQ(ring.bad_records, 6);
	fake_ring_close(&fake, &ring);
}

static void a_record_longer_than_the_format_allows_is_bad_whatever_the_buffer(void)
{
	size_t used = 0;

	fake_ring_open(&fake, &ring, 4 * KT_RECORD_MAX);
	CHECK(fake_put(&fake, KT_RECORD_MAX + 1, 1) && fake_put(&fake, KT_RECORD_MAX, 2));
	CHECK(read_all(sizeof(out), &used) == KT_RING_DONE);
	expect(used, (const uint64_t[]){ 2 }, 1);
	CHECK_EQ(ring.bad_records, 1);
	fake_ring_close(&fake, &ring);
}

static void a_length_past_the_producer_ends_at_the_producer(void)
{
	size_t used = 0;

	fake_ring_open(&fake, &ring, SIZE);
	CHECK(fake_put(&fake, HEAD, 1));
	fake_header(&fake, 0)[0] = 0x3fffffff;
	CHECK(read_all(sizeof(out), &used) == KT_RING_DONE);
	CHECK_EQ(used, 0);
	CHECK_EQ(ring.bad_records, 1);
	CHECK_EQ(*fake.consumer, *fake.producer);
	fake_ring_close(&fake, &ring);
}

static void nothing_past_the_bound_is_read(void)
{
	const uint64_t tags[] = { 1, 2 };
	size_t used = 0;

	fake_ring_open(&fake, &ring, SIZE);
	CHECK(fake_put(&fake, HEAD, 1));
	unsigned long until = kt_ring_producer(&ring);
	CHECK(fake_put(&fake, HEAD, 2));
	CHECK(kt_ring_read(&ring, until, out, sizeof(out), &used) == KT_RING_DONE);
	expect(used, tags, 1);
	/* A bound that was passed already is no work, not a wrap-around. */
	CHECK(kt_ring_read(&ring, until - 8, out, sizeof(out), &used) == KT_RING_DONE);
	expect(used, tags, 1);
	fake_ring_close(&fake, &ring);
}

/*
 * Random producers and readers against a plain queue: what is committed and good comes out once, in order, whole; the
 * rest is counted.
 */
struct queued {
	unsigned long pos;
	bool busy;
	bool discard;
	bool bad;
	uint64_t tag;
};

static void random_traffic_matches_a_queue(unsigned seed)
{
	static struct queued queue[1 << 16];
	int head = 0, tail = 0;
	uint64_t bad = 0, tag = 0;

	srand(seed);
	fake_ring_open(&fake, &ring, SIZE);
	for (int step = 0; step < 20000; step++) {
		if (rand() % 3) {
			uint32_t len = rand() % 8 ? HEAD + (uint32_t)rand() % 600 : (uint32_t)rand() % HEAD;
			bool lies = rand() % 16 == 0;
			unsigned long pos = fake_record(&fake, len, len + lies, ++tag);

			if (pos != FAKE_FULL)
				queue[tail++] = (struct queued){ pos, true, rand() % 8 == 0, lies || len < HEAD, tag };
		}
		for (int i = head; i < tail; i++) { /* commits come in any order */
			if (queue[i].busy && rand() % 2) {
				fake_commit(&fake, queue[i].pos, queue[i].discard);
				queue[i].busy = false;
			}
		}
		if (rand() % 3 == 0) {
			size_t cap = HEAD + 600 + (size_t)rand() % 2000, used = 0, at = 0;
			enum kt_ring_stop stop = read_all(cap, &used);

			CHECK(used <= cap);
			while (head < tail && !queue[head].busy) {
				struct queued *next = &queue[head];

				if (next->discard || next->bad)
					bad += !next->discard;
				else if (at == used)
					break;
				else
					at += check_record(out + at, used - at, next->tag);
				head++;
			}
			CHECK_EQ(at, used);
			CHECK_EQ(ring.bad_records, bad);
			CHECK(stop == KT_RING_FULL || head == tail || queue[head].busy);
			CHECK((stop == KT_RING_BUSY) == (head < tail && queue[head].busy));
			CHECK((stop == KT_RING_DONE) == (head == tail));
		}
	}
	fake_ring_close(&fake, &ring);
}

int main(void)
{
	an_empty_ring_gives_nothing();
	sizes_that_no_ring_has_are_refused();
	records_of_odd_lengths_are_padded_with_zeros_and_freed();
	a_record_that_wraps_is_whole();
	positions_may_overflow();
	an_uncommitted_record_stops_the_reader();
	a_discarded_record_is_passed_over();
	a_full_buffer_stops_before_the_record();
	a_bad_record_is_counted_and_passed_over();
	a_record_longer_than_the_format_allows_is_bad_whatever_the_buffer();
	a_length_past_the_producer_ends_at_the_producer();
	nothing_past_the_bound_is_read();
	for (unsigned seed = 1; seed <= 20; seed++)
		random_traffic_matches_a_queue(seed);
	printf("ring_test: ok\n");
	return 0;
}
