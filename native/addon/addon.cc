/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addon: arguments in, plain C called, results out. Synchronous; no threads, callbacks or external memory. A handle
 * is an External that owns a tap; its finalizer closes what close() did not, also when the environment ends.
 */
#include <cerrno>

#include <sys/file.h>
#include <sys/mount.h>

#include "calls.h"

namespace kerntap {

template <int (*act)(kt_tap *, const char *)> static Value program_call(const CallbackInfo &info)
{
	return on_program(info, act);
}

static Value possible_cpus(const CallbackInfo &info)
{
	int cpus = libbpf_num_possible_cpus();
	if (cpus < 0)
		return done(info, "possible CPUs", cpus);
	return Napi::Number::New(info.Env(), cpus);
}

static Value mount_tracefs(const CallbackInfo &info)
{
	std::string path;
	if (!string_of(info, 0, "path: expected a string", &path))
		return info.Env().Undefined();
	int err = mount("tracefs", path.c_str(), "tracefs", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) < 0 ? -errno : 0;
	return done(info, "mount tracefs on " + path, err);
}

/* Node has no flock(2). False: another open file of it has the lock. */
static Value lock_file(const CallbackInfo &info)
{
	if (!info[0].IsNumber()) {
		throw_type(info.Env(), "fd: expected a number");
		return info.Env().Undefined();
	}
	int err = flock(info[0].As<Napi::Number>().Int32Value(), LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
	if (err == 0 || err == -EWOULDBLOCK)
		return Napi::Boolean::New(info.Env(), err == 0);
	return done(info, "lock", err);
}

static Napi::Object init(Napi::Env env, Napi::Object exports)
{
	auto add = [&](const char *name, Value (*function)(const CallbackInfo &)) {
		exports.Set(name, Napi::Function::New(env, function, name));
	};
	add("open", open);
	add("close", close);
	add("load", load);
	add("programs", programs);
	add("attach", program_call<kt_tap_attach>);
	add("detach", program_call<kt_tap_detach>);
	add("runIterator", program_call<kt_tap_run_iterator>);
	add("testRun", program_call<kt_tap_test_run>);
	add("updateMap", update_map);
	add("deleteMap", delete_map);
	add("lookupMap", lookup_map);
	add("drain", drain);
	add("counters", counters);
	add("ringPositions", ring_positions);
	add("programInfo", program_info);
	add("possibleCpus", possible_cpus);
	add("mountTracefs", mount_tracefs);
	add("lockFile", lock_file);
	return exports;
}

NODE_API_MODULE(kerntap, init)

} // namespace kerntap
