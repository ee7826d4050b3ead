/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "log.h"

#include <bpf/libbpf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static _Thread_local struct kt_log *current;

void kt_log_append(struct kt_log *log, const char *text, size_t len)
{
	const size_t room = KT_LOG_BYTES - 1;

	if (len > room) {
		text += len - room;
		len = room;
	}
	if (len > room - log->len) {
		size_t keep = room - len;

		memmove(log->text, log->text + log->len - keep, keep);
		log->len = keep;
	}
	memcpy(log->text + log->len, text, len);
	log->len += len;
	log->text[log->len] = '\0';
}

static int print(enum libbpf_print_level level, const char *format, va_list args)
{
	char *text = NULL;

	if (!current || level == LIBBPF_DEBUG)
		return 0;
	/* A verifier log is one argument and may be megabytes long: only its end is kept. */
	int len = vasprintf(&text, format, args);
	if (len < 0)
		return 0;
	kt_log_append(current, text, (size_t)len);
	free(text);
	return len;
}

void kt_log_begin(struct kt_log *log)
{
	log->len = 0;
	log->text[0] = '\0';
	current = log;
	libbpf_set_print(print);
}

void kt_log_end(void)
{
	current = NULL;
}

const char *kt_log_tail(const struct kt_log *log, int lines)
{
	size_t at = log->len;

	while (at > 0 && log->text[at - 1] == '\n')
		at--;
	for (; at > 0; at--) {
		if (log->text[at - 1] == '\n' && --lines == 0)
			break;
	}
	return log->text + at;
}
