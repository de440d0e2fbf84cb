#include "binding/reactor.h"

#include <deque>

#include "binding/resolver_events.h"
#include "binding/signal.h"
#include "binding/worker.h"
#include "resolver/reactor.h"

namespace overns {
namespace {

std::optional<AskKey> parse_key(const std::string& text) {
  if (const auto mac = Mac::parse(text)) return AskKey::of(*mac);
  if (const auto ip = Ip::parse(text)) return AskKey::of(*ip);
  return std::nullopt;
}

// The thread and the way back to JavaScript; outlives the handle while work on the pool needs it.
struct Core {
  std::shared_ptr<JsSignal> signal;
  Napi::FunctionReference on_batch;
  Outbox outbox;
  std::unique_ptr<Reactor> reactor;
  std::map<std::uint32_t, std::deque<napi_deferred>> resets;  // of an overlay, those that have not ended, in order

  // Every one of an overlay's; what has ended before is told in the order of the calls.
  void end_resets(Napi::Env env, std::uint32_t id) {
    for (const napi_deferred reset : resets[id]) napi_resolve_deferred(env, reset, Napi::Number::New(env, 0));
    resets.erase(id);
  }

  void deliver(Napi::Env env) {
    reactor->take(outbox);
    for (const Finished& finished : outbox.finished) {
      auto& waiting = resets[finished.overlay];
      if (waiting.empty()) continue;
      napi_resolve_deferred(env, waiting.front(), Napi::Number::New(env, static_cast<double>(finished.missing)));
      waiting.pop_front();
    }
    if (outbox.events.empty() && outbox.lookups.empty() && outbox.overflow == 0 && outbox.failure == 0) return;
    auto events = Napi::Array::New(env, outbox.events.size());
    for (std::uint32_t i = 0; i < outbox.events.size(); ++i) {
      Napi::HandleScope scope(env);
      events.Set(i, to_js(env, outbox.events[i]));
    }
    auto lookups = Napi::Array::New(env, outbox.lookups.size());
    for (std::uint32_t i = 0; i < outbox.lookups.size(); ++i) {
      Napi::HandleScope scope(env);
      lookups.Set(i, to_js(env, outbox.lookups[i]));
    }
    // Called through a handle of its own: the callback may close the resolver, and this with it.
    on_batch.Value().Call({events, lookups, Napi::Number::New(env, static_cast<double>(outbox.overflow)),
                           Napi::Number::New(env, outbox.failure)});
  }
};

struct Triple {
  Ip ip;
  Mac mac;
  Ip vtep;
};

class ReactorHandle : public Napi::ObjectWrap<ReactorHandle> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "Reactor",
        {InstanceMethod<&ReactorHandle::new_id>("newId"), InstanceMethod<&ReactorHandle::add>("add"),
         InstanceMethod<&ReactorHandle::alone>("alone"), InstanceMethod<&ReactorHandle::remove>("remove"),
         InstanceMethod<&ReactorHandle::reset>("reset"), InstanceMethod<&ReactorHandle::sweep>("sweep"),
         InstanceMethod<&ReactorHandle::put>("put"), InstanceMethod<&ReactorHandle::forget>("forget"),
         InstanceMethod<&ReactorHandle::answer>("answer"), InstanceMethod<&ReactorHandle::store_down>("storeDown"),
         InstanceMethod<&ReactorHandle::want>("want"), InstanceMethod<&ReactorHandle::stats>("stats"),
         InstanceMethod<&ReactorHandle::realtime>("realtime"), InstanceMethod<&ReactorHandle::ref>("ref"),
         InstanceMethod<&ReactorHandle::unref>("unref"), InstanceMethod<&ReactorHandle::close>("close")});
  }

  explicit ReactorHandle(const Napi::CallbackInfo& info) : Napi::ObjectWrap<ReactorHandle>(info) {
    const Napi::Env env = info.Env();
    if (IsEmpty()) return;  // not wrapped, as the environment ends: nothing would close what it opened
    if (!info[0].IsFunction()) {
      Napi::TypeError::New(env, "Reactor(onBatch): expected a function").ThrowAsJavaScriptException();
      return;
    }
    auto core = std::make_shared<Core>();
    Core* raw = core.get();
    core->reactor = std::make_unique<Reactor>([raw] { raw->signal->send(); });
    core->signal = JsSignal::open(
        env, "overns:resolver", [raw](Napi::Env called) { raw->deliver(called); }, [raw] { raw->reactor->stop(); });
    if (!core->signal) {
      Napi::Error::New(env, "no thread-safe function can be made").ThrowAsJavaScriptException();
      return;
    }
    core->on_batch = Napi::Persistent(info[0].As<Napi::Function>());
    if (Status status = core->reactor->start(); !status) {
      core->signal->close();
      Napi::Error::New(env, status.failure().call + ": " + std::to_string(status.failure().error))
          .ThrowAsJavaScriptException();
      return;
    }
    core_ = std::move(core);
  }

  ~ReactorHandle() override { shut(); }

 private:
  void shut() {
    if (!core_) return;
    core_->reactor->stop();
    core_->signal->close();
    core_.reset();
  }

  struct Overlay {
    std::shared_ptr<std::atomic<std::uint32_t>> wanted = std::make_shared<std::atomic<std::uint32_t>>(0);
    std::shared_ptr<OverlayPort> port;  // from when add() has settled
  };

  // The overlay that the first argument names, or null.
  Overlay* overlay(const Napi::CallbackInfo& info) {
    const auto found = overlays_.find(number_of(info[0]));
    return core_ && found != overlays_.end() ? &found->second : nullptr;
  }

  // Posts to the overlay that the first argument names. That is possible from new_id() on: what happens to it, and what
  // is told of it in return, does not wait for the promise of add().
  void post(const Napi::CallbackInfo& info, std::function<void(OverlayPort&)> task) {
    if (core_) core_->reactor->post(number_of(info[0]), std::move(task));
  }

  Napi::Value new_id(const Napi::CallbackInfo& info) {
    if (!core_) return Napi::Number::New(info.Env(), 0);
    const std::uint32_t id = core_->reactor->new_id();
    overlays_[id];
    return Napi::Number::New(info.Env(), id);
  }

  // add(id, options)
  Napi::Value add(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const Overlay* added = overlay(info);
    if (added == nullptr || !info[1].IsObject()) {
      Napi::Error::New(env, "the resolver is closed").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const std::uint32_t id = number_of(info[0]);
    const auto given = info[1].As<Napi::Object>();
    const auto number = [&](const char* name, std::uint32_t fallback) { return number_of(given.Get(name), fallback); };
    OverlayPortOptions options;
    options.wanted = added->wanted;
    options.netns = text_of(given.Get("netns"));
    if (const Napi::Value host = given.Get("hostNetns"); host.IsString()) options.host_netns = text_of(host);
    if (const Napi::Value punt = given.Get("punt"); punt.IsBoolean()) options.punt = truth_of(punt);
    if (const Napi::Value beside = given.Get("beside"); beside.IsBoolean()) options.beside = truth_of(beside);
    options.receive_buffer = static_cast<int>(number("receiveBuffer", 16U << 20));
    const auto vtep = Ip::parse(text_of(given.Get("vtep")));
    if (!vtep) {
      Napi::RangeError::New(env, "vtep: expected an IP address").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    options.engine.vtep = *vtep;
    options.engine.negative_ttl_ms = number("negativeTtlMs", options.engine.negative_ttl_ms);
    options.engine.program_ahead = number("programAhead", options.engine.program_ahead);
    if (const Napi::Value prime = given.Get("prime"); prime.IsBoolean()) options.engine.prime = truth_of(prime);
    options.engine.redirect_ms = number("redirectMs", options.engine.redirect_ms);
    options.engine.answer_ttl_ms = number("answerTtlMs", options.engine.answer_ttl_ms);
    options.engine.max_lookups = number("maxLookups", options.engine.max_lookups);
    options.engine.lookup_deadline_ms = number("lookupDeadlineMs", 0);
    using Port = std::shared_ptr<OverlayPort>;
    // The handle must be there when the promise settles.
    auto self = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info.This().As<Napi::Object>()));
    return PromiseWorker<Port>::run(
        env,
        [core = core_, id, options]() -> Result<Port> {
          auto opened = OverlayPort::open(id, options);
          if (!opened) return opened.failure();
          Port shared = std::move(*opened);
          if (Status status = core->reactor->add(shared); !status) return status.failure();
          return shared;
        },
        [this, self](Napi::Env called, Port& opened) -> Napi::Value {
          // Not there when it has been removed or closed meanwhile.
          if (const auto found = overlays_.find(opened->id()); found != overlays_.end()) found->second.port = opened;
          auto result = Napi::Object::New(called);
          if (!opened->no_punt().empty()) result.Set("noPunt", opened->no_punt());
          auto kept = Napi::Array::New(called, opened->kept().size());
          for (std::uint32_t i = 0; i < opened->kept().size(); ++i) {
            Napi::HandleScope scope(called);
            const AskKey& key = opened->kept()[i];
            kept.Set(i, key.is_l3() ? key.ip().to_string() : key.mac().to_string());
          }
          result.Set("kept", kept);
          return result;
        });
  }

  void alone(const Napi::CallbackInfo& info) {
    post(info, [](OverlayPort& served) { served.alone(); });
  }

  Napi::Value remove(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::uint32_t id = number_of(info[0]);
    auto self = std::make_shared<Napi::ObjectReference>(Napi::Persistent(info.This().As<Napi::Object>()));
    return PromiseWorker<Unit>::run(
        env,
        [core = core_, id]() -> Result<Unit> {
          if (core) core->reactor->remove(id);
          return done();
        },
        [this, self, id](Napi::Env called, Unit&) -> Napi::Value {
          // First what it was still to tell.
          if (const auto core = core_) core->deliver(called);
          if (called.IsExceptionPending()) napi_fatal_exception(called, called.GetAndClearPendingException().Value());
          if (const auto core = core_) core->end_resets(called, id);
          const auto found = overlays_.find(id);
          const auto port = found == overlays_.end() ? nullptr : found->second.port;
          overlays_.erase(id);
          return counters(called, port.get());
        });
  }

  // ip, mac, vtep, ip, mac, vtep, ...: what cannot be read is left out, and its number added to `unreadable`.
  static std::vector<Triple> parse_triples(const Napi::Value& value, const Napi::Value& unreadable) {
    std::vector<Triple> triples;
    if (!value.IsArray() || !unreadable.IsArray()) return triples;
    auto left_out = unreadable.As<Napi::Array>();
    const auto list = value.As<Napi::Array>();
    triples.reserve(list.Length() / 3);
    for (std::uint32_t i = 0; i + 2 < list.Length(); i += 3) {
      Napi::HandleScope scope(value.Env());
      const auto ip = Ip::parse(text_of(list.Get(i)));
      const auto mac = Mac::parse(text_of(list.Get(i + 1)));
      const auto vtep = Ip::parse(text_of(list.Get(i + 2)));
      if (ip && mac && vtep) {
        triples.push_back({*ip, *mac, *vtep});
      } else {
        left_out.Set(left_out.Length(), i / 3);
      }
    }
    return triples;
  }

  static std::size_t length_of(const Napi::Value& list) { return list.IsArray() ? list.As<Napi::Array>().Length() : 0; }

  // Carries out work in steps. Fulfils with what is missing then, or with 0 when the overlay has been removed.
  Napi::Value in_steps(const Napi::CallbackInfo& info, std::function<bool(OverlayPort&)> step) {
    const Napi::Env env = info.Env();
    napi_deferred deferred;
    napi_value promise;
    if (napi_create_promise(env, &deferred, &promise) != napi_ok) return {};
    if (overlay(info) == nullptr) {
      napi_resolve_deferred(env, deferred, Napi::Number::New(env, 0));
      return {env, promise};
    }
    const std::uint32_t id = number_of(info[0]);
    core_->resets[id].push_back(deferred);
    core_->reactor->post_steps(id, std::move(step));
    return {env, promise};
  }

  Napi::Value reset(const Napi::CallbackInfo& info) {
    struct Work {
      std::vector<Triple> triples;
      std::size_t unreadable = 0;
      std::size_t at = 0;
      bool begun = false;
    };
    auto work = std::make_shared<Work>();
    work->triples = parse_triples(info[1], info[2]);
    work->unreadable = length_of(info[2]);
    return in_steps(info, [work](OverlayPort& served) {
      constexpr std::size_t kStep = 1024;  // some 0.3 ms
      const Nanoseconds now = monotonic_now();
      if (!std::exchange(work->begun, true)) {
        served.engine().begin_reset(work->triples.size());
        served.engine().on_unreadable(work->unreadable);
      }
      const std::size_t end = std::min(work->triples.size(), work->at + kStep);
      for (; work->at < end; ++work->at) {
        const Triple& item = work->triples[work->at];
        served.engine().put(item.ip, item.mac, item.vtep, now);
      }
      if (end < work->triples.size()) return true;
      return served.engine().find_missing();
    });
  }

  Napi::Value sweep(const Napi::CallbackInfo& info) {
    return in_steps(info, [begun = false](OverlayPort& served) mutable {
      if (!std::exchange(begun, true)) served.engine().begin_sweep();
      return served.engine().sweep();
    });
  }

  void put(const Napi::CallbackInfo& info) {
    auto triples = parse_triples(info[1], info[2]);
    post(info, [triples = std::move(triples), unreadable = length_of(info[2])](OverlayPort& served) {
      const Nanoseconds now = monotonic_now();
      served.engine().on_unreadable(unreadable);
      for (const Triple& item : triples) served.engine().put(item.ip, item.mac, item.vtep, now);
    });
  }

  void forget(const Napi::CallbackInfo& info) {
    const auto key = parse_key(text_of(info[1]));
    if (!key) return;
    const bool keep = info[2].IsBoolean() && info[2].As<Napi::Boolean>().Value();
    post(info, [key = *key, keep](OverlayPort& served) {
      if (key.is_l3()) {
        served.engine().forget(key.ip(), keep);
      } else {
        served.engine().forget(key.mac(), keep);
      }
    });
  }

  // answer(id, token, key, 'found' | 'absent' | 'timeout' | 'error', mac, vtep, ttlMs)
  // False where the MAC or the VTEP cannot be read: it is not answered then.
  Napi::Value answer(const Napi::CallbackInfo& info) {
    const auto read = Napi::Boolean::New(info.Env(), true);
    const auto key = parse_key(text_of(info[2]));
    if (!key) return read;
    const std::uint32_t token = number_of(info[1]);
    const std::string word = text_of(info[3]);
    LookupResult result = LookupResult::kError;
    if (word == "found") result = LookupResult::kFound;
    if (word == "absent") result = LookupResult::kAbsent;
    if (word == "timeout") result = LookupResult::kTimeout;
    Mac mac;
    Ip vtep;
    std::uint32_t ttl_ms = 0;
    if (result == LookupResult::kFound) {
      const auto given_mac = Mac::parse(text_of(info[4]));
      const auto given_vtep = Ip::parse(text_of(info[5]));
      if (!given_mac || !given_vtep || given_vtep->is_v4_mapped()) return Napi::Boolean::New(info.Env(), false);
      mac = *given_mac;
      vtep = *given_vtep;
      if (info[6].IsNumber()) ttl_ms = info[6].As<Napi::Number>().Uint32Value();
    }
    post(info, [=, key = *key](OverlayPort& served) {
      served.engine().on_answer(token, key, result, mac, vtep, ttl_ms, monotonic_now());
    });
    return read;
  }

  void store_down(const Napi::CallbackInfo& info) {
    const bool down = truth_of(info[1]);
    post(info, [down](OverlayPort& served) { served.engine().set_store_down(down); });
  }

  void want(const Napi::CallbackInfo& info) {
    if (const Overlay* target = overlay(info)) target->wanted->store(number_of(info[1]));
  }

  Napi::Value stats(const Napi::CallbackInfo& info) {
    const Overlay* target = overlay(info);
    return counters(info.Env(), target == nullptr ? nullptr : target->port.get());
  }

  static Napi::Object counters(Napi::Env env, const OverlayPort* port) {
    auto object = Napi::Object::New(env);
    if (port == nullptr) return object;
    for (const CounterRow& row : kCounterRows)
      object.Set(row.name, static_cast<double>((port->counters().*row.value).load(std::memory_order_relaxed)));
    return object;
  }

  Napi::Value realtime(const Napi::CallbackInfo& info) {
    return Napi::Boolean::New(info.Env(), core_ && core_->reactor->set_realtime(truth_of(info[0])));
  }

  void ref(const Napi::CallbackInfo&) {
    if (core_) core_->signal->ref();
  }
  void unref(const Napi::CallbackInfo&) {
    if (core_) core_->signal->unref();
  }

  void close(const Napi::CallbackInfo& info) {
    if (const auto core = core_) {
      while (!core->resets.empty()) core->end_resets(info.Env(), core->resets.begin()->first);
    }
    shut();
    overlays_.clear();
  }

  std::shared_ptr<Core> core_;
  std::map<std::uint32_t, Overlay> overlays_;
};

}  // namespace

Napi::Function define_reactor(Napi::Env env) { return ReactorHandle::define(env); }

}  // namespace overns
