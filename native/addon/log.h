/* SPDX-License-Identifier: Apache-2.0 */
/* What libbpf and the verifier say, kept per thread in a bounded buffer while one call runs. */
#ifndef KT_LOG_H
#define KT_LOG_H

#include <stddef.h>

#define KT_LOG_BYTES 16384

struct kt_log {
	char text[KT_LOG_BYTES]; /* the last bytes said, NUL-terminated */
	size_t len;
};

/* From here to kt_log_end, libbpf's warnings of this thread go to `log`. */
void kt_log_begin(struct kt_log *log);
void kt_log_end(void);
void kt_log_append(struct kt_log *log, const char *text, size_t len);
/* The last `lines` lines. */
const char *kt_log_tail(const struct kt_log *log, int lines);

#endif
