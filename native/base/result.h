// The one result type of the native code: a value, or a Failure that says what failed and why.
#pragma once

#include <cerrno>
#include <string>
#include <utility>
#include <variant>

namespace overns {

struct Failure {
  int error = 0;               // positive errno
  std::string call;            // what was asked: "RTM_NEWLINK", "setns", ...
  std::string message;         // on what, where the call alone does not tell
  std::string kernel_message;  // NLMSGERR_ATTR_MSG
  std::string attribute;       // the attribute named by NLMSGERR_ATTR_OFFS
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}            // NOLINT
  Result(Failure failure) : state_(std::in_place_index<1>, std::move(failure)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  T* operator->() { return &value(); }
  Failure& failure() { return *std::get_if<1>(&state_); }
  const Failure& failure() const { return *std::get_if<1>(&state_); }

 private:
  std::variant<T, Failure> state_;
};

struct Unit {};
using Status = Result<Unit>;
inline Status done() { return Unit{}; }

// A failed system call: errno as it stands now.
inline Failure system_failure(const char* call, std::string message = {}) {
  return Failure{errno, call, std::move(message), {}, {}};
}

}  // namespace overns
