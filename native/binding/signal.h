// "There is something to take": wakes the JavaScript thread from another one, and ends with the environment.
#pragma once

#include "binding/convert.h"

#include <functional>
#include <memory>

namespace overns {

// Owns a ThreadSafeFunction. `send` may be called from any thread until `close` or the environment's end, before
// which `stop` runs (on the JavaScript thread): it must end the threads that send.
class JsSignal {
 public:
  using Callback = std::function<void(Napi::Env)>;

  static std::shared_ptr<JsSignal> open(Napi::Env env, const char* name, Callback callback,
                                        std::function<void()> stop) {
    std::shared_ptr<JsSignal> signal(new JsSignal(env, std::move(callback), std::move(stop)));
    // The function lives as long as Node calls it, however early its owner goes.
    auto* keep = new std::shared_ptr<JsSignal>(signal);
    const napi_status status = napi_create_threadsafe_function(
        env, nullptr, nullptr, Napi::String::New(env, name), 0, 1, keep,
        [](napi_env, void* data, void*) { delete static_cast<std::shared_ptr<JsSignal>*>(data); }, signal.get(),
        [](napi_env called, napi_value, void* context, void*) {
          if (called == nullptr) return;  // torn down: nothing may be touched
          auto* self = static_cast<JsSignal*>(context);
          if (self->function_ == nullptr) return;
          Napi::Env call_env(called);
          Napi::HandleScope scope(call_env);
          self->callback_(call_env);
        },
        &signal->function_);
    if (status != napi_ok) {
      delete keep;
      return nullptr;
    }
    // Runs before Node's own hook for the function, so that no thread sends to what is gone.
    napi_add_env_cleanup_hook(env, &JsSignal::on_exit, signal.get());
    return signal;
  }

  void send() { napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking); }
  void ref() {
    if (function_ != nullptr) napi_ref_threadsafe_function(env_, function_);
  }
  void unref() {
    if (function_ != nullptr) napi_unref_threadsafe_function(env_, function_);
  }

  // On the JavaScript thread, when nobody sends any more. Idempotent.
  void close() {
    if (function_ == nullptr) return;
    napi_remove_env_cleanup_hook(env_, &JsSignal::on_exit, this);
    napi_release_threadsafe_function(std::exchange(function_, nullptr), napi_tsfn_abort);
  }

 private:
  JsSignal(Napi::Env env, Callback callback, std::function<void()> stop)
      : env_(env), callback_(std::move(callback)), stop_(std::move(stop)) {}

  static void on_exit(void* data) {
    auto* self = static_cast<JsSignal*>(data);
    self->stop_();
    self->function_ = nullptr;
  }

  napi_env env_;
  Callback callback_;
  std::function<void()> stop_;
  napi_threadsafe_function function_ = nullptr;
};

}  // namespace overns
