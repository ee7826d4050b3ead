/* SPDX-License-Identifier: Apache-2.0 */
/* Arguments of a call as C values, and errors back. Each reader throws into JavaScript and returns null or false. */
#ifndef KT_ARGUMENTS_H
#define KT_ARGUMENTS_H

#include <napi.h>

#include <string>

extern "C" {
#include "tap.h"
}

namespace kerntap {

using Napi::CallbackInfo;
using Napi::Value;

constexpr napi_type_tag tap_tag = {0x6b65726e74617030ULL, 0x9c2d1f64e8a35b71ULL};

struct Bytes {
	uint8_t *data;
	size_t length;
};

void throw_type(Napi::Env env, const char *what);

/* Throws an Error with `code` set to the name of -err, and the end of what libbpf said in its message. */
void throw_errno(Napi::Env env, const std::string &what, int err, const kt_log *log);

bool is_handle(const CallbackInfo &info);

/* Argument 0: the tap behind an open handle. */
kt_tap *handle_of(const CallbackInfo &info);

bool string_of(const CallbackInfo &info, size_t index, const char *what, std::string *out);
bool bytes_of(const CallbackInfo &info, size_t index, const char *what, Bytes *out);

/* undefined, after throwing where err is not 0. */
Value done(const CallbackInfo &info, const std::string &what, int err, const kt_log *log = nullptr);

} // namespace kerntap

#endif
