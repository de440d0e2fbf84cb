// Tables of all that native code and lib both know; test/unit/native-tables.test.ts compares them with lib's.
#pragma once

#include "binding/convert.h"

namespace overns {

// { eventKinds, eventFields, causes, counters, rowKinds, rowActions, verbs, entryRow, entryRecord }
Napi::Object native_tables(Napi::Env env);

}  // namespace overns
