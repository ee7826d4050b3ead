/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that read and write a tap's maps, rings and counters. */
#include <bpf/bpf.h>
#include <cerrno>

#include "calls.h"

namespace kerntap {

/* The map named by argument 1, with a key of its size as argument 2. */
const bpf_map *map_of(const CallbackInfo &info, kt_tap **tap, Bytes *key)
{
	std::string name;
	const bpf_map *map;
	*tap = handle_of(info);
	if (!*tap || !string_of(info, 1, "mapName: expected a string", &name) ||
	    !bytes_of(info, 2, "key: expected a Uint8Array", key))
		return nullptr;
	int err = kt_tap_map(*tap, name.c_str(), &map);
	if (err) {
		throw_errno(info.Env(), "map " + name, err, nullptr);
		return nullptr;
	}
	if (key->length != bpf_map__key_size(map)) {
		throw_type(info.Env(), "key: wrong size for this map");
		return nullptr;
	}
	return map;
}

Value update_map(const CallbackInfo &info)
{
	Bytes key, value;
	kt_tap *tap;
	const bpf_map *map = map_of(info, &tap, &key);
	if (!map || !bytes_of(info, 3, "value: expected a Uint8Array", &value))
		return info.Env().Undefined();
	if (value.length != kt_tap_value_size(tap, map)) {
		throw_type(info.Env(), "value: wrong size for this map");
		return info.Env().Undefined();
	}
	bool only_new = info[4].IsBoolean() && info[4].As<Napi::Boolean>().Value();
	int err = bpf_map_update_elem(bpf_map__fd(map), key.data, value.data, only_new ? BPF_NOEXIST : BPF_ANY) < 0 ? -errno : 0;
	if (err && err != -EEXIST)
		return done(info, std::string("update of map ") + bpf_map__name(map), err);
	return Napi::Boolean::New(info.Env(), err == 0);
}

Value delete_map(const CallbackInfo &info)
{
	Bytes key;
	kt_tap *tap;
	const bpf_map *map = map_of(info, &tap, &key);
	if (!map)
		return info.Env().Undefined();
	int err = bpf_map_delete_elem(bpf_map__fd(map), key.data) < 0 ? -errno : 0;
	if (err && err != -ENOENT)
		return done(info, std::string("delete from map ") + bpf_map__name(map), err);
	return Napi::Boolean::New(info.Env(), err == 0);
}

Value lookup_map(const CallbackInfo &info)
{
	Napi::Env env = info.Env();
	Bytes key;
	kt_tap *tap;
	const bpf_map *map = map_of(info, &tap, &key);
	if (!map)
		return env.Undefined();
	auto value = Napi::Uint8Array::New(env, kt_tap_value_size(tap, map));
	if (bpf_map_lookup_elem(bpf_map__fd(map), key.data, value.Data()) == 0)
		return value;
	if (errno == ENOENT)
		return env.Null();
	return done(info, std::string("look-up in map ") + bpf_map__name(map), -errno);
}

Value drain(const CallbackInfo &info)
{
	Bytes into;
	kt_tap *tap = handle_of(info);
	if (!tap || !bytes_of(info, 1, "into: expected a Uint8Array", &into))
		return info.Env().Undefined();
	if (into.length < KT_DRAIN_MIN) {
		Napi::RangeError::New(info.Env(), "into: too short").ThrowAsJavaScriptException();
		return info.Env().Undefined();
	}
	return Napi::Number::New(info.Env(), static_cast<double>(kt_drain_read(&tap->drain, into.data, into.length)));
}

Value counters(const CallbackInfo &info)
{
	kt_tap *tap = handle_of(info);
	if (!tap)
		return info.Env().Undefined();
	if (!info[1].IsTypedArray() || info[1].As<Napi::TypedArray>().TypedArrayType() != napi_biguint64_array) {
		throw_type(info.Env(), "into: expected a BigUint64Array");
		return info.Env().Undefined();
	}
	auto into = info[1].As<Napi::BigUint64Array>();
	return done(info, "counters", kt_tap_counters(tap, into.Data(), static_cast<uint32_t>(into.ElementLength())));
}

Value ring_positions(const CallbackInfo &info)
{
	Napi::Env env = info.Env();
	kt_tap *tap = handle_of(info);
	if (!tap)
		return env.Undefined();
	static const char *const names[KT_RING_COUNT] = {"control", "process", "events"};
	Napi::Array list = Napi::Array::New(env, KT_RING_COUNT);
	for (uint32_t i = 0; i < KT_RING_COUNT; i++) {
		const kt_ring *ring = &tap->drain.rings[i];
		Napi::Object item = Napi::Object::New(env);
		item.Set("name", names[i]);
		item.Set("consumer", Napi::BigInt::New(env, static_cast<uint64_t>(kt_ring_consumer(ring))));
		item.Set("producer", Napi::BigInt::New(env, static_cast<uint64_t>(kt_ring_producer(ring))));
		item.Set("size", Napi::Number::New(env, static_cast<double>(ring->size)));
		item.Set("badRecords", Napi::Number::New(env, static_cast<double>(ring->bad_records)));
		list.Set(i, item);
	}
	return list;
}

} // namespace kerntap
