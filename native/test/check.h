/* SPDX-License-Identifier: Apache-2.0 */
/* A failed check ends the test with its place; the sanitizers do likewise. */
#ifndef KT_CHECK_H
#define KT_CHECK_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                     \
	do {                                                                                 \
		if (!(condition)) {                                                          \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);      \
			exit(1);                                                             \
		}                                                                            \
	} while (0)

#define CHECK_EQ(actual, expected)                                                                           \
	do {                                                                                                 \
		unsigned long long actual_ = (unsigned long long)(actual);                                   \
		unsigned long long expected_ = (unsigned long long)(expected);                               \
		if (actual_ != expected_) {                                                                  \
			fprintf(stderr, "%s:%d: %s is %llu, expected %llu\n", __FILE__, __LINE__, #actual,   \
				actual_, expected_);                                                         \
			exit(1);                                                                             \
		}                                                                                            \
	} while (0)

#endif
