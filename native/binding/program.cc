#include "binding/program.h"

#include "binding/instance.h"
#include "binding/netns.h"
#include "binding/signal.h"
#include "binding/worker.h"
#include "program/program.h"

namespace overns {

// The programs of one environment. They end with it.
class ProgramHub {
 public:
  static std::shared_ptr<ProgramHub> of(Napi::Env env) {
    Instance& data = instance(env);
    if (data.programs) return data.programs;
    auto hub = std::make_shared<ProgramHub>();
    ProgramHub* raw = hub.get();
    hub->watcher_ = std::make_unique<ProgramWatcher>([raw] { raw->signal_->send(); });
    hub->signal_ = JsSignal::open(
        env, "overns:programs", [raw](Napi::Env called) { raw->deliver(called); }, [raw] { raw->watcher_->stop(); });
    if (!hub->signal_) return nullptr;
    hub->signal_->unref();
    if (!hub->watcher_->start()) {
      hub->signal_->close();
      return nullptr;
    }
    data.programs = hub;
    return hub;
  }
  ~ProgramHub() { watcher_->stop(); }

  std::uint32_t add(Program program, Napi::FunctionReference on_exit) {
    const std::uint32_t id = watcher_->add(std::move(program));
    if (id == 0) return 0;
    programs_[id].on_exit = std::move(on_exit);
    reference(id, true);
    return id;
  }

  Result<bool> signal(std::uint32_t id, int number) { return watcher_->signal(id, number); }

  void reference(std::uint32_t id, bool on) {
    const auto found = programs_.find(id);
    if (found == programs_.end() || found->second.referenced == on) return;
    found->second.referenced = on;
    references_ += on ? 1 : -1;
    if (on && references_ == 1) signal_->ref();
    if (!on && references_ == 0) signal_->unref();
  }

 private:
  struct Running {
    Napi::FunctionReference on_exit;
    bool referenced = false;
  };

  void deliver(Napi::Env env) {
    for (const ProgramEnd& end : watcher_->take()) {
      const auto found = programs_.find(end.id);
      if (found == programs_.end()) continue;
      reference(end.id, false);
      const Napi::FunctionReference on_exit = std::move(found->second.on_exit);
      programs_.erase(found);
      Napi::HandleScope scope(env);
      on_exit.Value().Call({Napi::Number::New(env, end.code), Napi::Number::New(env, end.signal)});
      if (env.IsExceptionPending()) return;
    }
  }

  std::shared_ptr<JsSignal> signal_;
  std::unique_ptr<ProgramWatcher> watcher_;
  std::map<std::uint32_t, Running> programs_;
  int references_ = 0;
};

namespace {

std::vector<std::string> texts_of(const Napi::Value& value) {
  std::vector<std::string> texts;
  if (!value.IsArray()) return texts;
  const auto list = value.As<Napi::Array>();
  for (std::uint32_t i = 0; i < list.Length(); ++i) texts.push_back(text_of(list.Get(i)));
  return texts;
}

}  // namespace

Napi::Value start_program_in(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[1].IsObject() || !info[2].IsFunction()) {
    Napi::TypeError::New(env, "startProgram(netns, program, onExit)").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  const auto given = info[1].As<Napi::Object>();
  ProgramSpec spec;
  spec.file = text_of(given.Get("file"));
  spec.arguments = texts_of(given.Get("arguments"));
  spec.environment = texts_of(given.Get("environment"));
  spec.directory = text_of(given.Get("directory"));
  spec.own_mounts = truth_of(given.Get("ownMounts"));
  spec.etc = text_of(given.Get("etc"));
  if (const Napi::Value streams = given.Get("streams"); streams.IsArray()) {
    for (std::uint32_t i = 0; i < spec.streams.size(); ++i) {
      const Napi::Value stream = streams.As<Napi::Array>().Get(i);
      if (stream.IsNumber()) spec.streams[i] = stream.As<Napi::Number>().Int32Value();
    }
  }
  auto hub = ProgramHub::of(env);
  if (!hub) {
    Napi::Error::New(env, "the thread that waits for programs cannot be started").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto on_exit = std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[2].As<Napi::Function>()));
  return PromiseWorker<Program>::run(
      env, [netns = text_of(info[0]), spec] { return start_program(netns, spec); },
      [hub, on_exit](Napi::Env of, Program& program) -> Napi::Value {
        auto object = Napi::Object::New(of);
        auto streams = Napi::Array::New(of, program.pipes.size());
        for (std::uint32_t i = 0; i < program.pipes.size(); ++i) {
          streams.Set(i, program.pipes[i].valid() ? lend(of, program.pipes[i]) : of.Null());
        }
        object.Set("streams", streams);
        object.Set("pid", static_cast<double>(program.pid));
        object.Set("id", hub->add(std::move(program), std::move(*on_exit)));
        return object;
      });
}

Napi::Value signal_program(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto hub = instance(env).programs;
  if (!hub || !info[1].IsNumber()) return Napi::Boolean::New(env, false);
  auto sent = hub->signal(number_of(info[0]), info[1].As<Napi::Number>().Int32Value());
  if (!sent) {
    Napi::Error(env, to_js(env, sent.failure())).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  return Napi::Boolean::New(env, *sent);
}

void ref_program(const Napi::CallbackInfo& info) {
  if (const auto hub = instance(info.Env()).programs) hub->reference(number_of(info[0]), truth_of(info[1]));
}

}  // namespace overns
