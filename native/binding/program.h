// Programs in a namespace, for JavaScript.
#pragma once

#include "binding/convert.h"

namespace overns {

// startProgram(netns, { file, arguments, environment, directory, streams, ownMounts, etc }, onExit):
// Promise<{ id, pid, streams }>. It keeps the event loop alive until it has ended and onExit(code, signal) is called.
Napi::Value start_program_in(const Napi::CallbackInfo& info);
// signalProgram(id, number): false when it has ended
Napi::Value signal_program(const Napi::CallbackInfo& info);
// refProgram(id, on)
void ref_program(const Napi::CallbackInfo& info);

}  // namespace overns
