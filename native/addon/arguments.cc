/* SPDX-License-Identifier: Apache-2.0 */
#include "arguments.h"

#include <cstring>

namespace kerntap {

constexpr int log_lines = 24; /* of libbpf's text in a message */

void throw_type(Napi::Env env, const char *what)
{
	Napi::TypeError::New(env, what).ThrowAsJavaScriptException();
}

/* libbpf numbers its own errors from 4000 on. */
void throw_errno(Napi::Env env, const std::string &what, int err, const kt_log *log)
{
	const char *name = strerrorname_np(-err);
	char text[128] = "";
	libbpf_strerror(err, text, sizeof(text));
	std::string message = what + ": " + text;
	if (log && log->len > 0)
		message += "\n" + std::string(kt_log_tail(log, log_lines));
	while (message.back() == '\n')
		message.pop_back();
	Napi::Error error = Napi::Error::New(env, message);
	error.Set("code", name ? std::string(name) : "LIBBPF" + std::to_string(-err));
	error.ThrowAsJavaScriptException();
}

bool is_handle(const CallbackInfo &info)
{
	if (info[0].IsExternal() && info[0].As<Napi::External<kt_tap>>().CheckTypeTag(&tap_tag))
		return true;
	throw_type(info.Env(), "handle: expected what open() returned");
	return false;
}

kt_tap *handle_of(const CallbackInfo &info)
{
	if (!is_handle(info))
		return nullptr;
	kt_tap *tap = info[0].As<Napi::External<kt_tap>>().Data();
	if (!tap->core) {
		Napi::Error::New(info.Env(), "closed").ThrowAsJavaScriptException();
		return nullptr;
	}
	return tap;
}

bool string_of(const CallbackInfo &info, size_t index, const char *what, std::string *out)
{
	if (!info[index].IsString()) {
		throw_type(info.Env(), what);
		return false;
	}
	*out = info[index].As<Napi::String>().Utf8Value();
	return true;
}

bool bytes_of(const CallbackInfo &info, size_t index, const char *what, Bytes *out)
{
	if (!info[index].IsTypedArray() ||
	    info[index].As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
		throw_type(info.Env(), what);
		return false;
	}
	auto array = info[index].As<Napi::Uint8Array>();
	*out = {array.Data(), array.ElementLength()};
	return true;
}

Value done(const CallbackInfo &info, const std::string &what, int err, const kt_log *log)
{
	if (err)
		throw_errno(info.Env(), what, err, log);
	return info.Env().Undefined();
}

} // namespace kerntap
