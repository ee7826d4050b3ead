// SPDX-License-Identifier: Apache-2.0
// with-caps NAME[,NAME...] COMMAND...: runs COMMAND as uid 0 with only these capabilities, the way a container runtime
// does for `drop: [ALL], add: [...]` and `allowPrivilegeEscalation: false`: what root gains at exec is cut by the
// bounding set.
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct { const char *name; int cap; } names[] = {
	{ "BPF", 39 }, { "PERFMON", 38 }, { "SYS_ADMIN", CAP_SYS_ADMIN }, { "SYS_RESOURCE", CAP_SYS_RESOURCE },
	{ "SYS_PTRACE", CAP_SYS_PTRACE }, { "DAC_READ_SEARCH", CAP_DAC_READ_SEARCH }, { "NONE", -1 },
};

int main(int argc, char **argv)
{
	unsigned long long keep = 0;

	if (argc < 3)
		return 2;
	for (char *name = strtok(argv[1], ","); name; name = strtok(NULL, ",")) {
		size_t i = 0;
		while (i < sizeof(names) / sizeof(names[0]) && strcmp(names[i].name, name))
			i++;
		if (i == sizeof(names) / sizeof(names[0])) {
			fprintf(stderr, "with-caps: unknown capability %s\n", name);
			return 2;
		}
		if (names[i].cap >= 0)
			keep |= 1ULL << names[i].cap;
	}
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		if (!(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap) < 0) {
			perror("with-caps: bounding set");
			return 1;
		}
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ .effective = keep, .permitted = keep },
		{ .effective = keep >> 32, .permitted = keep >> 32 },
	};
	if (syscall(SYS_capset, &header, data) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		perror("with-caps");
		return 1;
	}
	execvp(argv[2], argv + 2);
	fprintf(stderr, "with-caps: %s: %s\n", argv[2], strerror(errno));
	return 127;
}
