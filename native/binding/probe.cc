#include "binding/probe.h"

#include <cmath>

#include "binding/worker.h"
#include "probe/ping.h"

namespace overns {
namespace {

using Milliseconds = std::chrono::milliseconds;

constexpr double kMaxMilliseconds = 60'000;  // one call holds a thread of libuv's pool

// A whole number, or the fallback where there is none. Nothing and an exception for anything else.
std::optional<double> integer(Napi::Env env, const Napi::Object& options, const char* name, double min, double max,
                              double fallback) {
  const Napi::Value value = options.Get(name);
  if (env.IsExceptionPending()) return std::nullopt;
  if (value.IsUndefined()) return fallback;
  const double read = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (read >= min && read <= max && std::floor(read) == read) return read;
  Napi::RangeError::New(env, std::string(name) + ": expected an integer from " + std::to_string(static_cast<int>(min)) +
                                 " to " + std::to_string(static_cast<int>(max)))
      .ThrowAsJavaScriptException();
  return std::nullopt;
}

std::optional<PingOptions> parse_options(Napi::Env env, const Napi::Value& target, const Napi::Value& given) {
  PingOptions options;
  const auto ip = target.IsString() ? Ip::parse(target.As<Napi::String>().Utf8Value()) : std::nullopt;
  if (!ip || !given.IsObject()) {
    Napi::TypeError::New(env, "ping(netns, ip, options)").ThrowAsJavaScriptException();
    return std::nullopt;
  }
  options.target = *ip;
  const auto object = given.As<Napi::Object>();
  // The longest payload of a datagram of 65535 bytes, by what the IPv4 header takes; IPv6 leaves a little more.
  const auto count = integer(env, object, "count", 1, 1000, 1);
  const auto interval = count ? integer(env, object, "intervalMs", 0, kMaxMilliseconds, 1000) : std::nullopt;
  const auto timeout = interval ? integer(env, object, "timeoutMs", 1, kMaxMilliseconds, 1000) : std::nullopt;
  const auto size = timeout ? integer(env, object, "size", 0, 65'507, 56) : std::nullopt;
  if (!size) return std::nullopt;
  options.count = static_cast<std::uint16_t>(*count);
  options.interval = Milliseconds(static_cast<std::int64_t>(*interval));
  options.timeout = Milliseconds(static_cast<std::int64_t>(*timeout));
  options.size = static_cast<std::uint16_t>(*size);
  options.dont_fragment = truth_of(object.Get("dontFragment"));
  return options;
}

}  // namespace

Napi::Value ping_target(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto options = parse_options(env, info[1], info[2]);
  if (!options) return env.Undefined();
  return PromiseWorker<std::vector<Echo>>::run(
      env, [netns = text_of(info[0]), options = *options] { return ping(netns, options); },
      [](Napi::Env of, std::vector<Echo>& echoes) -> Napi::Value {
        auto result = Napi::Array::New(of, echoes.size());
        for (std::uint32_t i = 0; i < echoes.size(); ++i) {
          auto echo = Napi::Object::New(of);
          echo.Set("sentAtNs", Napi::BigInt::New(of, echoes[i].sent_ns));
          echo.Set("rttMs",
                   echoes[i].rtt_ns ? Napi::Number::New(of, static_cast<double>(*echoes[i].rtt_ns) / 1e6) : of.Null());
          result.Set(i, echo);
        }
        return result;
      });
}

}  // namespace overns
