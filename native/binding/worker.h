// Work on libuv's pool that settles a promise.
#pragma once

#include "binding/convert.h"

#include <functional>
#include <memory>
#include <utility>

namespace overns {

// Runs `work` on the pool, then `convert` on the JavaScript thread with its value; a Failure rejects the promise.
template <class Value>
class PromiseWorker : public Napi::AsyncWorker {
 public:
  using Work = std::function<Result<Value>()>;
  using Convert = std::function<Napi::Value(Napi::Env, Value&)>;

  // The promise. An empty value, and no work done, where none can be made: the worker is being terminated.
  static Napi::Value run(Napi::Env env, Work work, Convert convert) {
    // Not Napi::Promise::Deferred, which then has whatever was in memory for a promise, and returning that crashes.
    napi_deferred deferred;
    napi_value promise;
    if (napi_create_promise(env, &deferred, &promise) != napi_ok) return {};
    auto* worker = new PromiseWorker(env, deferred, std::move(work), std::move(convert));
    worker->Queue();
    return {env, promise};  // NOLINT(clang-analyzer-cplusplus.NewDeleteLeaks): the worker deletes itself
  }

 protected:
  void Execute() override { result_ = std::make_unique<Result<Value>>(work_()); }
  void OnOK() override {
    Napi::HandleScope scope(Env());
    if (result_->ok()) {
      napi_resolve_deferred(Env(), deferred_, convert_(Env(), result_->value()));
    } else {
      napi_reject_deferred(Env(), deferred_, to_js(Env(), result_->failure()));
    }
  }
  void OnError(const Napi::Error& error) override { napi_reject_deferred(Env(), deferred_, error.Value()); }

 private:
  PromiseWorker(Napi::Env env, napi_deferred deferred, Work work, Convert convert)
      : Napi::AsyncWorker(env), deferred_(deferred), work_(std::move(work)), convert_(std::move(convert)) {}

  napi_deferred deferred_;
  Work work_;
  Convert convert_;
  std::unique_ptr<Result<Value>> result_;
};

inline Napi::Value to_undefined(Napi::Env env, Unit&) { return env.Undefined(); }

}  // namespace overns
