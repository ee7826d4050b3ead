/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that open a tap and act on its programs. */
#include <cerrno>
#include <memory>
#include <vector>

#include "calls.h"

namespace kerntap {

constexpr size_t names_max = KT_PROGRAMS_MAX;

Value open(const CallbackInfo &info)
{
	Napi::Env env = info.Env();
	if (!info[0].IsObject()) {
		throw_type(env, "options: expected { coreObject, maps }");
		return env.Undefined();
	}
	auto options = info[0].As<Napi::Object>();
	Value path = options.Get("coreObject"), maps = options.Get("maps");
	if (env.IsExceptionPending() || !path.IsString() || !maps.IsObject()) {
		if (!env.IsExceptionPending())
			throw_type(env, "options: expected { coreObject: string, maps: Record<string, number> }");
		return env.Undefined();
	}
	auto entries = maps.As<Napi::Object>();
	Napi::Array keys = entries.GetPropertyNames();
	std::vector<std::string> names;
	std::vector<kt_map_size> sizes;
	for (uint32_t i = 0; i < keys.Length() && i < names_max; i++)
		names.push_back(Value(keys[i]).ToString().Utf8Value());
	for (const std::string &name : names) {
		Value size = entries.Get(name);
		double n = size.IsNumber() ? size.As<Napi::Number>().DoubleValue() : 0;
		if (!(n >= 1 && n <= UINT32_MAX)) {
			throw_type(env, "options.maps: expected sizes from 1 to 2^32 - 1");
			return env.Undefined();
		}
		sizes.push_back({name.c_str(), static_cast<uint32_t>(n)});
	}
	auto tap = std::make_unique<kt_tap>();
	std::string object = path.As<Napi::String>().Utf8Value();
	int err = kt_tap_open(tap.get(), object.c_str(), sizes.data(), static_cast<int>(sizes.size()));
	if (err)
		return done(info, "open " + object, err, &tap->log);
	auto handle = Napi::External<kt_tap>::New(env, tap.release(), [](Napi::Env, kt_tap *gone) {
		kt_tap_close(gone);
		delete gone;
	});
	handle.TypeTag(&tap_tag);
	return handle;
}

Value close(const CallbackInfo &info)
{
	if (is_handle(info))
		kt_tap_close(info[0].As<Napi::External<kt_tap>>().Data());
	return info.Env().Undefined();
}

Value load(const CallbackInfo &info)
{
	std::string path;
	kt_tap *tap = handle_of(info);
	if (!tap || !string_of(info, 1, "objectPath: expected a string", &path))
		return info.Env().Undefined();
	std::vector<std::string> names;
	if (info[2].IsArray()) {
		auto array = info[2].As<Napi::Array>();
		for (uint32_t i = 0; i < array.Length() && i < names_max; i++) {
			Value name = array[i];
			if (name.IsString())
				names.push_back(name.As<Napi::String>().Utf8Value());
		}
		if (names.size() != array.Length())
			names.clear();
	}
	if (names.empty()) {
		throw_type(info.Env(), "programNames: expected 1 to 256 strings");
		return info.Env().Undefined();
	}
	std::vector<const char *> pointers;
	for (const std::string &name : names)
		pointers.push_back(name.c_str());
	int err = kt_tap_load(tap, path.c_str(), pointers.data(), static_cast<int>(pointers.size()));
	return done(info, "load " + path, err, &tap->log);
}

Value programs(const CallbackInfo &info)
{
	Napi::Env env = info.Env();
	std::string path;
	if (!string_of(info, 0, "objectPath: expected a string", &path))
		return env.Undefined();
	auto log = std::make_unique<kt_log>();
	kt_log_begin(log.get());
	bpf_object *object = bpf_object__open_file(path.c_str(), nullptr);
	int err = object ? 0 : -errno;
	kt_log_end();
	if (err)
		return done(info, "read " + path, err, log.get());
	Napi::Array list = Napi::Array::New(env);
	bpf_program *program;
	bpf_object__for_each_program(program, object)
	{
		Napi::Object item = Napi::Object::New(env);
		item.Set("name", bpf_program__name(program));
		item.Set("section", bpf_program__section_name(program));
		list.Set(list.Length(), item);
	}
	bpf_object__close(object);
	return list;
}

Value on_program(const CallbackInfo &info, int (*act)(kt_tap *, const char *))
{
	std::string name;
	kt_tap *tap = handle_of(info);
	if (!tap || !string_of(info, 1, "programName: expected a string", &name))
		return info.Env().Undefined();
	tap->log.len = 0;
	return done(info, name, act(tap, name.c_str()), &tap->log);
}

Value program_info(const CallbackInfo &info)
{
	Napi::Env env = info.Env();
	kt_tap *tap = handle_of(info);
	if (!tap)
		return env.Undefined();
	Napi::Array list = Napi::Array::New(env);
	for (int i = 0; i < tap->program_count; i++) {
		kt_program_info program;
		int err = kt_tap_program_info(tap, i, &program);
		if (err)
			return done(info, program.name, err);
		Napi::Object item = Napi::Object::New(env);
		item.Set("name", program.name);
		item.Set("attached", program.attached);
		item.Set("runCount", Napi::BigInt::New(env, program.run_count));
		item.Set("runTimeNs", Napi::BigInt::New(env, program.run_time_ns));
		item.Set("recursionMisses",
			 program.has_misses ? Value(Napi::BigInt::New(env, program.recursion_misses)) : env.Null());
		list.Set(list.Length(), item);
	}
	return list;
}

} // namespace kerntap
