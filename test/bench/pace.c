/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens and closes one file at a paced rate: pace RATE SECONDS. Prints how many opens it made and the nanoseconds that it
 * took. RATE 0: as fast as it can. Sleeps between bursts of at most a millisecond's worth.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

int main(int argc, char **argv)
{
	double rate = argc > 2 ? atof(argv[1]) : 0;
	uint64_t length = argc > 2 ? strtoull(argv[2], NULL, 10) * 1000000000ull : 0, start, made = 0, passed;

	if (!length)
		return 2;
	start = now();
	while ((passed = now() - start) < length) {
		uint64_t due = rate > 0 ? (uint64_t)(rate * passed / 1e9) : made + 64;

		for (; made < due; made++) {
			int fd = open("/etc/ld.so.cache", O_RDONLY);

			if (fd < 0)
				return 1;
			close(fd);
		}
		if (rate > 0)
			usleep(1000);
	}
	printf("{\"made\":%llu,\"ns\":%llu}\n", (unsigned long long)made, (unsigned long long)(now() - start));
	return 0;
}
