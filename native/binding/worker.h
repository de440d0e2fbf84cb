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

  static Napi::Promise run(Napi::Env env, Work work, Convert convert) {
    auto* worker = new PromiseWorker(env, std::move(work), std::move(convert));
    const Napi::Promise promise = worker->deferred_.Promise();
    worker->Queue();
    return promise;
  }

 protected:
  void Execute() override { result_ = std::make_unique<Result<Value>>(work_()); }
  void OnOK() override {
    Napi::HandleScope scope(Env());
    if (result_->ok()) {
      deferred_.Resolve(convert_(Env(), result_->value()));
    } else {
      deferred_.Reject(to_js(Env(), result_->failure()));
    }
  }
  void OnError(const Napi::Error& error) override { deferred_.Reject(error.Value()); }

 private:
  PromiseWorker(Napi::Env env, Work work, Convert convert)
      : Napi::AsyncWorker(env), deferred_(env), work_(std::move(work)), convert_(std::move(convert)) {}

  Napi::Promise::Deferred deferred_;
  Work work_;
  Convert convert_;
  std::unique_ptr<Result<Value>> result_;
};

inline Napi::Value to_undefined(Napi::Env env, Unit&) { return env.Undefined(); }

}  // namespace overns
