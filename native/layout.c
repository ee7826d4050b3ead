/* SPDX-License-Identifier: Apache-2.0 */
/* Prints record.h as TypeScript, so that both sides of the addon have one source: make -C native layout. */
#include <stddef.h>
#include <stdio.h>

#include "record.h"

static void banner(const char *name)
{
	printf("\nexport const %s = {\n", name);
}

#define BEGIN(name) banner(#name)
#define FIELD(type, field) printf("  %s: %zu,\n", #field, offsetof(struct type, field))
#define SIZE(type) printf("  SIZE: %zu,\n} as const;\n", sizeof(struct type))
#define VALUE(name) printf("export const %s = %d;\n", #name, (int)(name))

int main(void)
{
	printf("// Printed by native/layout.c from native/record.h; not edited by hand. Byte offsets and values.\n\n");
	VALUE(KT_RECORD_VERSION);
	VALUE(KT_RECORD_MAX);
	VALUE(KT_CGROUP_PATH_MAX);
	VALUE(KT_PATH_MAX);
	VALUE(KT_ARGV_CAP_MAX);
	VALUE(KT_ENV_CAP_MAX);
	VALUE(KT_PROCESS_BLOCK_OFFSET);
	VALUE(KT_PREFIX_NAME);
	VALUE(KT_KIND_COUNT);
	VALUE(KT_REASON_COUNT);
	VALUE(KT_PROCESS_EXEC);
	VALUE(KT_PROCESS_EXIT);
	VALUE(KT_PROCESS_FORK);
	VALUE(KT_PROCESS_IO_URING);
	VALUE(KT_FILE_OPEN);
	VALUE(KT_FILE_CLOSE);
	VALUE(KT_FILE_RENAME);
	VALUE(KT_FILE_UNLINK);
	VALUE(KT_FILE_CHMOD);
	VALUE(KT_SOCKET_CONNECT);
	VALUE(KT_SOCKET_ACCEPT);
	VALUE(KT_SOCKET_LISTEN);
	VALUE(KT_SOCKET_CLOSE);
	VALUE(KT_CGROUP_MKDIR);
	VALUE(KT_CGROUP_RMDIR);
	VALUE(KT_PROCESS_IMAGE);
	VALUE(KT_TIER_TRACKER);
	VALUE(KT_TIER_TRAMPOLINE);
	VALUE(KT_TIER_SYSCALL);
	VALUE(KT_TIER_RAW_SYSCALL);
	VALUE(KT_TIER_ITERATOR);
	VALUE(KT_ACTOR_CURRENT);
	VALUE(KT_ACTOR_OWNER);
	VALUE(KT_ACTOR_CGROUP_ONLY);
	VALUE(KT_ENTRY_UNKNOWN);
	VALUE(KT_ENTRY_INIT);
	VALUE(KT_ENTRY_EXEC);
	VALUE(KT_ENTRY_HOST);
	VALUE(KT_PATH_TRUNCATED);
	VALUE(KT_PATH_DELETED);
	VALUE(KT_PATH_UNREACHABLE);
	VALUE(KT_PATH_CHROOTED);
	VALUE(KT_PATH_PSEUDO);
	VALUE(KT_PATH_FAULT);
	VALUE(KT_PATH_NONE);
	VALUE(KT_PATH_KERNEL_FILE);
	VALUE(KT_PATH_KERNEL_NAME);
	VALUE(KT_PATH_USER_ENTER);
	VALUE(KT_PATH_USER_EXIT);
	VALUE(KT_EXEC_UPPER_LAYER);
	VALUE(KT_EXEC_MEMFD);
	VALUE(KT_EXEC_DELETED);
	VALUE(KT_EXEC_SECURE);
	VALUE(KT_EXEC_ARGV_FAULT);
	VALUE(KT_EXEC_ENV_FAULT);
	VALUE(KT_FILE_CREATED);
	VALUE(KT_FILE_MODIFIED);
	VALUE(KT_FILE_MODIFIED_KNOWN);
	VALUE(KT_FILE_SENSITIVE);
	VALUE(KT_FILE_INODE_KNOWN);
	VALUE(KT_ENDED_UNKNOWN);
	VALUE(KT_ENDED_LOCAL);
	VALUE(KT_ENDED_REMOTE);
	VALUE(KT_ENDED_LOCAL_RESET);
	VALUE(KT_ENDED_REMOTE_RESET);
	VALUE(KT_ENDED_TIMEOUT);
	VALUE(KT_SOCK_LOCAL);
	VALUE(KT_SOCK_REMOTE);
	VALUE(KT_SOCK_ASKED);
	VALUE(KT_SOCK_COUNTERS);
	VALUE(KT_SOCK_UNIX_ABSTRACT);
	VALUE(KT_SEEN);
	VALUE(KT_EMITTED);
	VALUE(KT_FILTERED);
	VALUE(KT_SAMPLED);
	VALUE(KT_SELF);
	VALUE(KT_LOST_RING_FULL);
	VALUE(KT_LOST_BUDGET);
	VALUE(KT_LOST_NO_SLOT);
	VALUE(KT_LOST_UNPAIRED);
	VALUE(KT_LOST_STATE_FULL);
	VALUE(KT_LOST_TOO_BIG);
	VALUE(KT_NOTE_USER_FAULT);
	VALUE(KT_NOTE_STATE_FULL);
	VALUE(KT_OPEN_OFF);
	VALUE(KT_OPEN_WRITES);
	VALUE(KT_OPEN_SENSITIVE);
	VALUE(KT_OPEN_ALL);
	VALUE(KT_UNIX_OFF);
	VALUE(KT_UNIX_SENSITIVE);
	VALUE(KT_UNIX_ALL);
	VALUE(KT_PREFIX_FILE);
	VALUE(KT_PREFIX_UNIX);
	VALUE(KT_PREFIX_WILDCARD);
	VALUE(KT_CGROUP_CONTAINER);
	VALUE(KT_CGROUP_FRESH);

	BEGIN(HEAD);
	FIELD(kt_head, len);
	FIELD(kt_head, version);
	FIELD(kt_head, kind);
	FIELD(kt_head, tier);
	FIELD(kt_head, actor);
	FIELD(kt_head, ktime);
	FIELD(kt_head, tid);
	FIELD(kt_head, weight);
	FIELD(kt_head, cgroup_id);
	FIELD(kt_head, start_time);
	FIELD(kt_head, exec_id);
	FIELD(kt_head, parent_start_time);
	FIELD(kt_head, parent_exec_id);
	FIELD(kt_head, image_start_time);
	FIELD(kt_head, tgid);
	FIELD(kt_head, parent_tgid);
	FIELD(kt_head, image_tgid);
	FIELD(kt_head, ns_tgid);
	FIELD(kt_head, uid);
	FIELD(kt_head, gid);
	FIELD(kt_head, euid);
	FIELD(kt_head, mnt_ns);
	FIELD(kt_head, net_ns);
	FIELD(kt_head, entry);
	FIELD(kt_head, comm);
	SIZE(kt_head);

	BEGIN(PATH);
	FIELD(kt_path, comps_len);
	FIELD(kt_path, str_len);
	FIELD(kt_path, state);
	FIELD(kt_path, source);
	SIZE(kt_path);

	BEGIN(EXEC);
	FIELD(kt_exec, exe_inode);
	FIELD(kt_exec, cap_permitted);
	FIELD(kt_exec, cap_effective);
	FIELD(kt_exec, cap_inheritable);
	FIELD(kt_exec, exe_dev);
	FIELD(kt_exec, flags);
	FIELD(kt_exec, loginuid);
	FIELD(kt_exec, sessionid);
	FIELD(kt_exec, argc);
	FIELD(kt_exec, argv_orig_len);
	FIELD(kt_exec, env_orig_len);
	FIELD(kt_exec, argv_len);
	FIELD(kt_exec, env_len);
	FIELD(kt_exec, filename_len);
	FIELD(kt_exec, interp_len);
	FIELD(kt_exec, tty_len);
	FIELD(kt_exec, exe);
	FIELD(kt_exec, cwd);
	SIZE(kt_exec);

	BEGIN(EXIT);
	FIELD(kt_exit, duration);
	FIELD(kt_exit, code);
	FIELD(kt_exit, signal);
	FIELD(kt_exit, core);
	SIZE(kt_exit);

	BEGIN(IO_URING);
	FIELD(kt_io_uring, entries);
	FIELD(kt_io_uring, flags);
	FIELD(kt_io_uring, ret);
	SIZE(kt_io_uring);

	BEGIN(FILE);
	FIELD(kt_file, inode);
	FIELD(kt_file, size);
	FIELD(kt_file, dev);
	FIELD(kt_file, mode);
	FIELD(kt_file, flags);
	FIELD(kt_file, open_flags);
	FIELD(kt_file, ret);
	FIELD(kt_file, asked_len);
	FIELD(kt_file, asked_source);
	FIELD(kt_file, path);
	FIELD(kt_file, path2);
	SIZE(kt_file);

	BEGIN(SOCKET);
	FIELD(kt_socket, conn_start);
	FIELD(kt_socket, bytes_sent);
	FIELD(kt_socket, bytes_received);
	FIELD(kt_socket, duration);
	FIELD(kt_socket, local_addr);
	FIELD(kt_socket, remote_addr);
	FIELD(kt_socket, asked_addr);
	FIELD(kt_socket, family);
	FIELD(kt_socket, protocol);
	FIELD(kt_socket, local_port);
	FIELD(kt_socket, remote_port);
	FIELD(kt_socket, asked_family);
	FIELD(kt_socket, asked_port);
	FIELD(kt_socket, flags);
	FIELD(kt_socket, ret);
	FIELD(kt_socket, backlog);
	FIELD(kt_socket, ended_by);
	FIELD(kt_socket, name_len);
	FIELD(kt_socket, path);
	SIZE(kt_socket);

	BEGIN(CGROUP);
	FIELD(kt_cgroup, id);
	FIELD(kt_cgroup, parent_id);
	FIELD(kt_cgroup, level);
	FIELD(kt_cgroup, path_len);
	FIELD(kt_cgroup, truncated);
	SIZE(kt_cgroup);

	BEGIN(CONFIG);
	FIELD(kt_config, self_start_time);
	FIELD(kt_config, self_tgid);
	FIELD(kt_config, argv_cap);
	FIELD(kt_config, env_cap);
	FIELD(kt_config, enabled_kinds);
	FIELD(kt_config, open_mode);
	FIELD(kt_config, failed_opens);
	FIELD(kt_config, unix_mode);
	FIELD(kt_config, policies);
	FIELD(kt_config, port_filter);
	FIELD(kt_config, raw_kinds);
	FIELD(kt_config, container_interval_ns);
	FIELD(kt_config, node_interval_ns);
	FIELD(kt_config, burst_ns);
	SIZE(kt_config);

	BEGIN(POLICY);
	FIELD(kt_policy, off);
	FIELD(kt_policy, sample);
	FIELD(kt_policy, sample_n);
	SIZE(kt_policy);

	BEGIN(PREFIX_KEY);
	FIELD(kt_prefix_key, node);
	FIELD(kt_prefix_key, len);
	FIELD(kt_prefix_key, name);
	SIZE(kt_prefix_key);

	BEGIN(PREFIX_VALUE);
	FIELD(kt_prefix_value, next);
	FIELD(kt_prefix_value, marks);
	SIZE(kt_prefix_value);

	BEGIN(CGROUP_INFO);
	FIELD(kt_cgroup_info, root_id);
	FIELD(kt_cgroup_info, flags);
	SIZE(kt_cgroup_info);

	BEGIN(PROC);
	FIELD(kt_proc, start_time);
	FIELD(kt_proc, root_id);
	FIELD(kt_proc, image_start_time);
	FIELD(kt_proc, image_tgid);
	FIELD(kt_proc, entry);
	SIZE(kt_proc);
	return 0;
}
