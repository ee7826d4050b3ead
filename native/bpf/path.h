/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Paths from the kernel's own objects: from leaf to the root of the mount namespace, across mounts. The task's root is
 * not where the walk ends: a chroot must not forge a path. Components go out leaf first, each with its length.
 */
#ifndef KT_PATH_H
#define KT_PATH_H

#include "emit.h"

#ifdef KT_LEGACY
#define KT_WALK_MAX 1024 /* components and mounts; each is a state that the verifier keeps */
#else
#define KT_WALK_MAX 4200 /* a path of 4,096 bytes has at most 2,048 components; mounts come on top */
#endif
#ifdef KT_LEGACY
INLINE void name_copy(struct kt_slot *slot, u32 pos, u64 name, u32 len)
{
	barrier_var(pos);
	if (pos > KT_SLOT_DATA - 256)
		return;
	bpf_probe_read_kernel(&slot->data[pos], len & 255, (void *)name);
}
#else
/* Words where short (most names): no helper call. What is copied past the name's end is overwritten or cut off. */
INLINE void name_copy(struct kt_slot *slot, u32 pos, u64 name, u32 len)
{
	barrier_var(pos);
	if (pos > KT_SLOT_DATA - 256)
		return;
	u8 *dst = &slot->data[pos];
	/* four plain words, wherever they lie */
	struct itimerspec64 *words = PTR(itimerspec64, name);

	if (len > 32) {
		bpf_probe_read_kernel(dst, len & 255, (void *)name);
		return;
	}
	*(u64 *)dst = words->it_interval.tv_sec;
	if (len <= 8)
		return;
	*(u64 *)(dst + 8) = words->it_interval.tv_nsec;
	if (len <= 16)
		return;
	*(u64 *)(dst + 16) = words->it_value.tv_sec;
	*(u64 *)(dst + 24) = words->it_value.tv_nsec;
}
#endif

INLINE u64 mount_of(u64 vfsmount)
{
	return vfsmount - bpf_core_field_offset(struct mount, mnt);
}

INLINE int is_err(u64 ptr)
{
	return ptr >= (u64)-4095L;
}

/* Is the struct path at `root` (a task's root) something else than the root of its mount namespace? */
INLINE int is_chrooted(u64 root)
{
	u64 vfsmount = K64(root + bpf_core_field_offset(struct path, mnt));
	u64 dentry = K64(root + bpf_core_field_offset(struct path, dentry));
	u64 mount = mount_of(vfsmount), above;

	if (dentry != (u64)RD(vfsmount, vfsmount, mnt_root))
		return 1;
	/* the initial root and what pivot_root(2) leaves are mounted on the root of a rootfs that is the namespace's own */
	above = (u64)RD(mount, mount, mnt_parent);
	return above != mount && (u64)RD(mount, mount, mnt_mountpoint) != (u64)RD(mount, above, mnt.mnt_root);
}

/* Writes one component. Returns 0, or 1 if it does not fit. */
INLINE int walk_name(struct kt_slot *slot, struct dentry *dentry)
{
	struct kt_walk *w = &slot->walk;
	u32 len = GET(dentry, d_name.len), pos = w->pos;

	if (len > KT_NAME_MAX || pos + len + 1 > w->end)
		return 1;
	barrier_var(pos);
	if (pos > KT_SLOT_DATA - 512)
		return 1;
	slot->data[pos] = len;
	name_copy(slot, pos + 1, (u64)GET(dentry, d_name.name), len);
	w->tops[w->components & (KT_COMPONENTS_KEPT - 1)] = pos;
	w->components++;
	w->pos = pos + len + 1;
	return 0;
}

/* One step of the walk; returns 1 when it is over. */
INLINE int walk_step(struct kt_slot *slot)
{
	struct kt_walk *w = &slot->walk;
	u64 dentry = w->dentry, parent;
	struct dentry *d;

	if (dentry == w->mount_root) {
		u64 mount = mount_of(w->vfsmount);
		u64 up = (u64)RD(mount, mount, mnt_parent);

		if (up == mount || !up) {
			w->done = 1;
			return 1;
		}
		w->dentry = (u64)RD(mount, mount, mnt_mountpoint);
		w->vfsmount = up + bpf_core_field_offset(struct mount, mnt);
		w->mount_root = (u64)RD(vfsmount, w->vfsmount, mnt_root);
		return 0;
	}
	d = PTR(dentry, dentry);
	parent = (u64)GET(d, d_parent);
	if (parent == dentry || !parent) {
		/* the root of a file system that is not where its mount is rooted: not reachable from here */
		w->state |= KT_PATH_UNREACHABLE;
		w->done = 1;
		return 1;
	}
	if (walk_name(slot, d)) {
		w->state |= KT_PATH_TRUNCATED;
		w->done = 1;
		return 1;
	}
	w->dentry = parent;
	return 0;
}

#ifdef KT_LEGACY
/*
 * Global functions are verified once and by themselves: the verifier of 5.10 does not get through the walk where every
 * step of it is looked at in every program anew. They take the slot by its index: 5.10 passes no pointers to them.
 */
__attribute__((noinline)) int kt_walk_step(u32 slot_index)
{
	struct kt_slot *slot = bpf_map_lookup_elem(&kt_slots, &slot_index);

	return slot ? walk_step(slot) : 1;
}
#else
static long walk_callback(u32 index, void *ctx)
{
	return walk_step(*(struct kt_slot **)ctx);
}
#endif

/*
 * Walks a struct path, writing components at slot->walk.pos (set by the caller). Afterwards that is behind them, and
 * walk.state holds KT_PATH_* bits. `task` tells the namespace and whether the process is chrooted.
 */
INLINE int path_walk(struct kt_slot *slot, u64 vfsmount, u64 dentry, u64 task)
{
	struct kt_walk *w = &slot->walk;
	u64 inode, fs, mount, ns;

	w->end = w->pos + KT_PATH_MAX;
	w->dentry = dentry;
	w->vfsmount = vfsmount;
	w->mount_root = (u64)RD(vfsmount, vfsmount, mnt_root);
	w->state = 0;
	w->done = 0;
	w->components = 0;
	if (!dentry) {
		w->state = KT_PATH_UNREACHABLE;
		return 0;
	}
	mount = mount_of(vfsmount);
	ns = (u64)RD(mount, mount, mnt_ns);
	if (is_err(ns)) {
		/* MNT_NS_INTERNAL: pipefs, sockfs, memfd's tmpfs, anon inodes: mounted nowhere, only named */
		w->state = KT_PATH_PSEUDO;
		/* a pipe has none: readlink(2) makes one up from the inode's number, which the record has anyway */
		if (RD(dentry, dentry, d_name.len))
			walk_name(slot, PTR(dentry, dentry));
		return 0;
	}
	inode = (u64)RD(dentry, dentry, d_inode);
	/* d_unhashed() of what is not a root, or the last link is gone */
	if ((!RD(dentry, dentry, d_hash.pprev) && (u64)RD(dentry, dentry, d_parent) != dentry) ||
	    (inode && !RD(inode, inode, i_nlink)))
		w->state |= KT_PATH_DELETED;
#ifdef KT_LEGACY
	for (int i = 0; i < KT_WALK_MAX; i++) {
		if (kt_walk_step(slot->index))
			break;
	}
#else
	bpf_loop(KT_WALK_MAX, walk_callback, &slot, 0);
#endif
	if (!w->done)
		w->state |= KT_PATH_TRUNCATED;
	if (w->state & (KT_PATH_TRUNCATED | KT_PATH_UNREACHABLE))
		return 0;
	/* unmounted (0), detached (an anonymous namespace) or another's: not where this task could name it */
	if ((u64)RD(mount, mount_of(w->vfsmount), mnt_ns) != (u64)RD(nsproxy, RD(task_struct, task, nsproxy), mnt_ns))
		w->state |= KT_PATH_UNREACHABLE;
	fs = (u64)RD(task_struct, task, fs);
	if (fs && is_chrooted(AT(fs_struct, fs, root)))
		w->state |= KT_PATH_CHROOTED;
	return 0;
}

#ifdef KT_LEGACY
__attribute__((noinline)) int kt_path_walk(u32 slot_index, u64 vfsmount, u64 dentry, u64 task)
{
	struct kt_slot *slot = bpf_map_lookup_elem(&kt_slots, &slot_index);

	return slot ? path_walk(slot, vfsmount, dentry, task) : 0;
}
#endif

/* Walks the struct path at path_addr and writes its descriptor. Returns the position behind the components. */
INLINE u32 put_path(struct kt_path *out, struct kt_slot *slot, u32 pos, u64 path_addr, const void *task)
{
	u64 mnt = K64(path_addr + bpf_core_field_offset(struct path, mnt));
	u64 dentry = K64(path_addr + bpf_core_field_offset(struct path, dentry));
	u32 end;

	slot->walk.pos = pos;
#ifdef KT_LEGACY
	u64 scalar = 0;

	/* the verifier tells a typed pointer from a number until it went through memory */
	bpf_probe_read_kernel(&scalar, sizeof(scalar), &task);
	kt_path_walk(slot->index, mnt, dentry, scalar);
#else
	path_walk(slot, mnt, dentry, (u64)task);
#endif
	end = slot->walk.pos;
	out->comps_len = end - pos;
	out->str_len = 0;
	out->state = slot->walk.state;
	out->source = KT_PATH_KERNEL_FILE;
	out->pad = 0;
	return end;
}

INLINE void path_none(struct kt_path *out)
{
	*(u64 *)out = 0;
}

/* Bytes 8 * i.. of a name of `len` bytes as a word, zero behind its end (little-endian). */
INLINE u64 name_word(const u8 *name, u32 i, u32 len)
{
	u64 word = *(const u64 *)(name + 8 * i);

	if (len >= 8 * i + 8)
		return word;
	if (len <= 8 * i)
		return 0;
	return word & ((1ull << (8 * (len - 8 * i))) - 1);
}

/*
 * Marks (KT_PREFIX_*) of the path just walked: follows the trie of sensitive prefixes from the root downward. A path
 * that does not begin at its namespace's root has none. Most paths leave it at their first component: one look-up.
 */
INLINE u32 marks_of_walk(struct kt_slot *slot)
{
	struct kt_walk *w = &slot->walk;
	struct {
		u32 node;
		u32 len;
		u64 name[KT_PREFIX_NAME / 8];
	} key = {}; /* struct kt_prefix_key by words */
	u32 n = w->components, marks = 0, wild = 0;

	if (w->state & (KT_PATH_TRUNCATED | KT_PATH_UNREACHABLE | KT_PATH_PSEUDO))
		return 0;
	for (int i = 0; i < KT_COMPONENTS_KEPT; i++) {
		struct kt_prefix_value *v = NULL;
		const u8 *name;
		u32 pos, len;

		if (i >= n)
			break;
		pos = w->tops[(n - 1 - i) & (KT_COMPONENTS_KEPT - 1)];
		barrier_var(pos);
		if (pos > KT_SLOT_DATA - 256)
			break;
		len = slot->data[pos];
		name = &slot->data[pos + 1];
		if (len <= KT_PREFIX_NAME) {
			key.len = len;
			key.name[0] = name_word(name, 0, len);
			key.name[1] = name_word(name, 1, len);
			key.name[2] = name_word(name, 2, len);
			key.name[3] = name_word(name, 3, len);
			v = bpf_map_lookup_elem(&kt_prefixes, &key);
		}
		if (!v && wild) {
			key.len = 0;
			key.name[0] = key.name[1] = key.name[2] = key.name[3] = 0;
			v = bpf_map_lookup_elem(&kt_prefixes, &key);
		}
		if (!v)
			break;
		marks |= v->marks & (KT_PREFIX_FILE | KT_PREFIX_UNIX);
		wild = v->marks & KT_PREFIX_WILDCARD;
		key.node = v->next;
		if (!key.node)
			break;
	}
	return marks;
}

/* Global, so that the verifier looks at the match once and not with every state of its callers: it takes a fifth of the time. */
__attribute__((noinline)) int kt_path_marks(u32 slot_index)
{
	struct kt_slot *slot = bpf_map_lookup_elem(&kt_slots, &slot_index);

	return slot ? marks_of_walk(slot) : 0;
}

INLINE u32 path_marks(struct kt_slot *slot)
{
	return kt_path_marks(slot->index);
}

#endif
