// Reactor: the resolver thread, for JavaScript.
#pragma once

#include "binding/convert.h"

namespace overns {

Napi::Function define_reactor(Napi::Env env);

}  // namespace overns
