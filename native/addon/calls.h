/* SPDX-License-Identifier: Apache-2.0 */
/* What the addon exports; src/kernel/native.ts gives the types. */
#ifndef KT_CALLS_H
#define KT_CALLS_H

#include "arguments.h"

namespace kerntap {

Value open(const CallbackInfo &info);
Value close(const CallbackInfo &info);
Value load(const CallbackInfo &info);
Value programs(const CallbackInfo &info);
Value update_map(const CallbackInfo &info);
Value delete_map(const CallbackInfo &info);
Value lookup_map(const CallbackInfo &info);
Value drain(const CallbackInfo &info);
Value counters(const CallbackInfo &info);
Value ring_positions(const CallbackInfo &info);
Value program_info(const CallbackInfo &info);

/* attach, detach, runIterator, testRun: one program by name. */
Value on_program(const CallbackInfo &info, int (*act)(kt_tap *, const char *));

} // namespace kerntap

#endif
