#include "binding/netns.h"

#include "binding/worker.h"
#include "netlink/namespace.h"

namespace overns {

Napi::Value create_netns(const Napi::CallbackInfo& info) {
  return PromiseWorker<Unit>::run(
      info.Env(), [path = info[0].ToString().Utf8Value()] { return create_namespace(path); }, to_undefined);
}

Napi::Value delete_netns(const Napi::CallbackInfo& info) {
  return PromiseWorker<Unit>::run(
      info.Env(), [path = info[0].ToString().Utf8Value()] { return delete_namespace(path); }, to_undefined);
}

Napi::Value write_sysctl_value(const Napi::CallbackInfo& info) {
  return PromiseWorker<Unit>::run(
      info.Env(),
      [path = info[0].ToString().Utf8Value(), name = info[1].ToString().Utf8Value(),
       value = info[2].ToString().Utf8Value()] { return write_sysctl(path, name, value); },
      to_undefined);
}

Napi::Value open_unix_socket(const Napi::CallbackInfo& info) {
  const bool listening = info[2].ToString().Utf8Value() == "listen";
  return PromiseWorker<UniqueFd>::run(
      info.Env(),
      [listening, path = info[0].ToString().Utf8Value(), name = info[1].ToString().Utf8Value()] {
        return listening ? listen_abstract(path, name) : connect_abstract(path, name);
      },
      [](Napi::Env env, UniqueFd& fd) -> Napi::Value { return Napi::Number::New(env, fd.release()); });
}

}  // namespace overns
