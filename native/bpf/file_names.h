/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Names as they are when a call is entered: at its exit user memory may have changed. */
#ifndef KT_FILE_NAMES_H
#define KT_FILE_NAMES_H

#include "file_record.h"

/* `state` gets the KT_PATH_* bits of the name itself. */
INLINE void names_read(char *str, u64 user, u16 *len, u8 *source, u8 *state)
{
	long n = bpf_probe_read_user_str(str, KT_PATH_MAX, (void *)user);

	*len = n > 0 ? n - 1 : 0;
	*source = n > 0 ? KT_PATH_USER_ENTER : KT_PATH_USER_EXIT;
	*state = n > 0 && name_goes_on(user, n - 1) ? KT_PATH_TRUNCATED : 0;
}

/* Is the thread the agent's? Then its calls are not worth remembering. `id`: its pid_tgid. */
INLINE int is_self(struct kt_config *cfg, u64 id)
{
	return cfg->self_tgid && cfg->self_tgid == (u32)(id >> 32);
}

INLINE void names__enter(u32 kind, s32 dfd, u64 user, u32 flags, u32 mode)
{
	struct kt_config *cfg = config();
	u64 id = bpf_get_current_pid_tgid();
	struct kt_names *names;
	struct kt_slot *slot;

	if (!cfg || is_self(cfg, id) || !(cfg->enabled_kinds & (1u << kind)))
		return;
	if (kind == KT_FILE_UNLINK && flags & AT_REMOVEDIR) {
		/* rmdir comes as an unlink that is none: without registers its exit knows by what is remembered */
		if (HAS_EXIT_REGS)
			return;
	} else if (!is_wanted(cfg, kind)) {
		return;
	}
	slot = slot_claim();
	if (!slot)
		return; /* counted as unpaired at exit */
	names = (struct kt_names *)slot->data;
	names->dfd = dfd;
	names->dfd2 = 0;
	names->flags = flags;
	names->mode = mode & 07777;
	names->kind = kind;
	names->user1 = user;
	names->user2 = 0;
	names->len2 = 0;
	names->source2 = 0;
	names->state1 = names->state2 = 0;
	if (user) {
		names_read(names->str1, user, &names->len1, &names->source1, &names->state1);
	} else {
		names->len1 = 0;
		names->source1 = KT_PATH_NONE;
	}
	if (bpf_map_update_elem(&kt_names, &id, names, BPF_ANY))
		count_kind(kind, KT_NOTE_STATE_FULL);
	slot_release(slot);
}

INLINE void open__enter(s32 dfd, u64 user, u32 flags)
{
	struct kt_config *cfg = config();

	if (cfg && cfg->failed_opens)
		names__enter(KT_FILE_OPEN, dfd, user, flags, 0);
}

INLINE void rename__enter(s32 dfd, u64 user, s32 dfd2, u64 user2, u32 flags)
{
	struct kt_config *cfg = config();
	u64 id = bpf_get_current_pid_tgid();
	struct kt_names2 *names;
	struct kt_slot *slot;

	if (!cfg || is_self(cfg, id) || !(cfg->enabled_kinds & (1u << KT_FILE_RENAME)) || !is_wanted(cfg, KT_FILE_RENAME))
		return;
	slot = slot_claim();
	if (!slot)
		return;
	names = (struct kt_names2 *)slot->data;
	names->one.dfd = dfd;
	names->one.dfd2 = dfd2;
	names->one.flags = flags;
	names->one.mode = 0;
	names->one.kind = KT_FILE_RENAME;
	names->one.user1 = user;
	names->one.user2 = user2;
	names_read(names->one.str1, user, &names->one.len1, &names->one.source1, &names->one.state1);
	names_read(names->str2, user2, &names->one.len2, &names->one.source2, &names->one.state2);
	if (bpf_map_update_elem(&kt_names2, &id, names, BPF_ANY))
		count_kind(KT_FILE_RENAME, KT_NOTE_STATE_FULL);
	slot_release(slot);
}

#endif
