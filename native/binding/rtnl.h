// Rtnl: a command socket in one namespace, for JavaScript.
#pragma once

#include "binding/convert.h"

namespace overns {

Napi::Function define_rtnl(Napi::Env env);
// openRtnl(netns: string): Promise<Rtnl>
Napi::Value open_rtnl(const Napi::CallbackInfo& info);
// openScratchRtnl(): Promise<Rtnl>, in a new namespace that lives as long as it
Napi::Value open_scratch_rtnl(const Napi::CallbackInfo& info);

}  // namespace overns
