#include "binding/reactor.h"

#include "binding/signal.h"
#include "binding/worker.h"
#include "resolver/reactor.h"

namespace overns {
namespace {

std::string key_text(const AskKey& key) { return key.is_l3() ? key.ip().to_string() : key.mac().to_string(); }

std::optional<AskKey> parse_key(const std::string& text) {
  if (const auto mac = Mac::parse(text)) return AskKey::of(*mac);
  if (const auto ip = Ip::parse(text)) return AskKey::of(*ip);
  return std::nullopt;
}

Napi::Object to_js(Napi::Env env, const OutEvent& out) {
  static constexpr const char* kKinds[] = {"resolved",     "unresolved",   "rejected", "overrun",
                                           "overlay-lost", "overlay-back", "miss"};
  static constexpr const char* kCauses[] = {"absent", "timeout", "store-error"};
  const EngineEvent& event = out.event;
  auto object = Napi::Object::New(env);
  object.Set("overlay", out.overlay);
  object.Set("kind", kKinds[static_cast<std::size_t>(event.kind)]);
  object.Set("atNs", Napi::BigInt::New(env, event.at));
  if (event.key.kind != 0) {
    object.Set(event.key.is_l3() ? "ip" : "queriedMac", key_text(event.key));
    object.Set("missAtNs", Napi::BigInt::New(env, event.miss_at));
    object.Set("token", event.token);
  }
  switch (event.kind) {
    case EventKind::kResolved:
      object.Set("mac", event.mac.to_string());
      object.Set("vtep", event.vtep.to_string());
      object.Set("by", event.by_store ? "store" : "table");
      object.Set("tookUs", static_cast<double>(event.at - event.miss_at) / 1000.0);
      break;
    case EventKind::kUnresolved: object.Set("cause", kCauses[static_cast<std::size_t>(event.cause)]); break;
    case EventKind::kRejected:
      object.Set("reason", event.reason);
      object.Set("errno", -event.error);
      object.Set("mac", event.mac.to_string());
      object.Set("vtep", event.vtep.to_string());
      break;
    case EventKind::kOverrun: object.Set("dropped", event.dropped); break;
    default: break;
  }
  return object;
}

Napi::Object to_js(Napi::Env env, const OutLookup& lookup) {
  auto object = Napi::Object::New(env);
  object.Set("overlay", lookup.overlay);
  object.Set("token", lookup.token);
  object.Set("l3", lookup.key.is_l3());
  object.Set("key", key_text(lookup.key));
  object.Set("missAtNs", Napi::BigInt::New(env, lookup.miss_at));
  return object;
}

// The thread and the way back to JavaScript; outlives the handle while work on the pool needs it.
struct Core {
  std::shared_ptr<JsSignal> signal;
  Napi::FunctionReference on_batch;
  Outbox outbox;
  std::unique_ptr<Reactor> reactor;

  void deliver(Napi::Env env) {
    reactor->take(outbox);
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
    on_batch.Value().Call({events, lookups, Napi::Number::New(env, static_cast<double>(outbox.overflow))});
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
         InstanceMethod<&ReactorHandle::remove>("remove"), InstanceMethod<&ReactorHandle::reset>("reset"),
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

  // The overlay that the first argument names; throws when there is none.
  OverlayPort* port(const Napi::CallbackInfo& info) {
    if (core_ && info[0].IsNumber()) {
      const auto found = ports_.find(info[0].As<Napi::Number>().Uint32Value());
      if (found != ports_.end()) return found->second.get();
    }
    return nullptr;
  }

  // The number of an overlay to be added: its news bear it, and may come before add() has settled.
  Napi::Value new_id(const Napi::CallbackInfo& info) {
    return Napi::Number::New(info.Env(), core_ ? core_->reactor->new_id() : 0);
  }

  // add(id, options)
  Napi::Value add(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!core_ || !info[0].IsNumber() || !info[1].IsObject()) {
      Napi::Error::New(env, "the resolver is closed").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const std::uint32_t id = info[0].As<Napi::Number>().Uint32Value();
    const auto given = info[1].As<Napi::Object>();
    const auto number = [&](const char* name, std::uint32_t fallback) { return number_of(given.Get(name), fallback); };
    OverlayPortOptions options;
    options.netns = text_of(given.Get("netns"));
    if (const Napi::Value host = given.Get("hostNetns"); host.IsString()) options.host_netns = text_of(host);
    if (const Napi::Value punt = given.Get("punt"); punt.IsBoolean()) options.punt = truth_of(punt);
    options.receive_buffer = static_cast<int>(number("receiveBuffer", 16U << 20));
    const auto vtep = Ip::parse(text_of(given.Get("vtep")));
    if (!vtep) {
      Napi::RangeError::New(env, "vtep: expected an IP address").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    options.engine.vtep = *vtep;
    options.engine.negative_ttl_ms = number("negativeTtlMs", options.engine.negative_ttl_ms);
    options.engine.answer_ttl_ms = number("answerTtlMs", options.engine.answer_ttl_ms);
    options.engine.max_lookups = number("maxLookups", options.engine.max_lookups);
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
          if (core_) ports_[opened->id()] = opened;  // else closed meanwhile
          auto result = Napi::Object::New(called);
          if (!opened->no_punt().empty()) result.Set("noPunt", opened->no_punt());
          return result;
        });
  }

  Napi::Value remove(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    const std::uint32_t id = number_of(info[0]);
    ports_.erase(id);
    return PromiseWorker<Unit>::run(
        env,
        [core = core_, id]() -> Result<Unit> {
          if (core) core->reactor->remove(id);
          return done();
        },
        to_undefined);
  }

  // ip, mac, vtep, ip, mac, vtep, ...: what cannot be read is left out, the caller has checked.
  static std::vector<Triple> parse_triples(const Napi::Value& value) {
    std::vector<Triple> triples;
    if (!value.IsArray()) return triples;
    const auto list = value.As<Napi::Array>();
    triples.reserve(list.Length() / 3);
    for (std::uint32_t i = 0; i + 2 < list.Length(); i += 3) {
      Napi::HandleScope scope(value.Env());
      const auto ip = Ip::parse(text_of(list.Get(i)));
      const auto mac = Mac::parse(text_of(list.Get(i + 1)));
      const auto vtep = Ip::parse(text_of(list.Get(i + 2)));
      if (ip && mac && vtep) triples.push_back({*ip, *mac, *vtep});
    }
    return triples;
  }

  // Fulfils when it is done.
  Napi::Value reset(const Napi::CallbackInfo& info) {
    const OverlayPort* target = port(info);
    const std::uint32_t id = target == nullptr ? 0 : target->id();
    return PromiseWorker<Unit>::run(
        info.Env(),
        [core = core_, id, triples = parse_triples(info[1])]() -> Result<Unit> {
          constexpr std::size_t kBreath = 1024;  // some 0.3 ms
          if (!core || id == 0) return done();
          core->reactor->run(id, [&](OverlayPort& served) {
            Nanoseconds now = monotonic_now();
            served.engine().begin_reset(triples.size());
            for (std::size_t i = 0; i < triples.size(); ++i) {
              if (i % kBreath == kBreath - 1) {
                core->reactor->breathe(id);
                now = monotonic_now();
              }
              served.engine().put(triples[i].ip, triples[i].mac, triples[i].vtep, now);
            }
            served.engine().end_reset(now);
          });
          return done();
        },
        to_undefined);
  }

  void put(const Napi::CallbackInfo& info) {
    const OverlayPort* target = port(info);
    if (target == nullptr) return;
    core_->reactor->post(target->id(), [triples = parse_triples(info[1])](OverlayPort& served) {
      const Nanoseconds now = monotonic_now();
      for (const Triple& item : triples) served.engine().put(item.ip, item.mac, item.vtep, now);
    });
  }

  void forget(const Napi::CallbackInfo& info) {
    const OverlayPort* target = port(info);
    const auto key = parse_key(text_of(info[1]));
    if (target == nullptr || !key) return;
    core_->reactor->post(target->id(), [key = *key](OverlayPort& served) {
      if (key.is_l3()) {
        served.engine().forget(key.ip(), monotonic_now());
      } else {
        served.engine().forget(key.mac(), monotonic_now());
      }
    });
  }

  // answer(id, token, key, 'found' | 'absent' | 'timeout' | 'error', mac, vtep, ttlMs)
  // False where the MAC or the VTEP cannot be read: it is not answered then.
  Napi::Value answer(const Napi::CallbackInfo& info) {
    const auto read = Napi::Boolean::New(info.Env(), true);
    const OverlayPort* target = port(info);
    const auto key = parse_key(text_of(info[2]));
    if (target == nullptr || !key) return read;
    const std::uint32_t token = number_of(info[1]);
    const std::string word = text_of(info[3]);
    MissEngine::Said said = MissEngine::Said::kError;
    if (word == "found") said = MissEngine::Said::kFound;
    if (word == "absent") said = MissEngine::Said::kAbsent;
    if (word == "timeout") said = MissEngine::Said::kTimeout;
    Mac mac;
    Ip vtep;
    std::uint32_t ttl_ms = 0;
    if (said == MissEngine::Said::kFound) {
      const auto given_mac = Mac::parse(text_of(info[4]));
      const auto given_vtep = Ip::parse(text_of(info[5]));
      if (!given_mac || !given_vtep || given_vtep->is_v4_mapped()) return Napi::Boolean::New(info.Env(), false);
      mac = *given_mac;
      vtep = *given_vtep;
      if (info[6].IsNumber()) ttl_ms = info[6].As<Napi::Number>().Uint32Value();
    }
    core_->reactor->post(target->id(), [=, key = *key](OverlayPort& served) {
      served.engine().on_answer(token, key, said, mac, vtep, ttl_ms, monotonic_now());
    });
    return read;
  }

  void store_down(const Napi::CallbackInfo& info) {
    const OverlayPort* target = port(info);
    if (target == nullptr) return;
    const bool down = truth_of(info[1]);
    core_->reactor->post(target->id(), [down](OverlayPort& served) { served.engine().set_store_down(down); });
  }

  void want(const Napi::CallbackInfo& info) {
    if (OverlayPort* target = port(info)) target->wanted().store(number_of(info[1]));
  }

  Napi::Value stats(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    auto object = Napi::Object::New(env);
    const OverlayPort* target = port(info);
    if (target == nullptr) return object;
    const EngineStats& stats = target->stats();
    const auto set = [&](const char* name, const std::atomic<std::uint64_t>& value) {
      object.Set(name, static_cast<double>(value.load(std::memory_order_relaxed)));
    };
    set("misses", stats.misses);
    set("answers", stats.answers);
    set("coalesced", stats.coalesced);
    set("negative", stats.negative);
    set("rejected", stats.rejected);
    set("overruns", stats.overruns);
    set("lookups", stats.lookups);
    set("local", stats.local);
    set("replayed", stats.replayed);
    set("shed", stats.shed);
    set("dropped", stats.dropped);
    set("endpoints", stats.endpoints);
    set("forwarded", stats.forwarded);
    set("packetsDropped", stats.packets_dropped);
    set("floodDropped", stats.flood_dropped);
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

  void close(const Napi::CallbackInfo&) {
    shut();
    ports_.clear();
  }

  std::shared_ptr<Core> core_;
  std::map<std::uint32_t, std::shared_ptr<OverlayPort>> ports_;
};

}  // namespace

Napi::Function define_reactor(Napi::Env env) { return ReactorHandle::define(env); }

}  // namespace overns
