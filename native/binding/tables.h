// What both sides of the addon know, as the native side has it: test/unit/native-tables.test.ts compares it with lib's.
#pragma once

#include "binding/convert.h"

namespace overns {

// { eventKinds, eventFields, causes, counters, rowKinds, rowActions, verbs, entryRow, entryRecord }
Napi::Object native_tables(Napi::Env env);

}  // namespace overns
