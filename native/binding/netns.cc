#include "binding/netns.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "binding/instance.h"
#include "binding/worker.h"
#include "netns/ip_socket.h"
#include "netns/namespace.h"
#include "netns/proc_files.h"
#include "netns/unix_socket.h"
#include "resolver/announce.h"

namespace overns {
namespace {

// The inode of a socket or a pipe, 0 when it is neither: tells whether a descriptor is still the one it was.
std::uint64_t lent_inode(int fd) {
  struct stat status {};
  return fstat(fd, &status) == 0 && (S_ISSOCK(status.st_mode) || S_ISFIFO(status.st_mode)) ? status.st_ino : 0;
}

// Closes it on the pool, and lets nobody wait for that.
Napi::Value close_behind(Napi::Env env, UniqueFd& fd) {
  PromiseWorker<Unit>::run(
      env,
      [socket = std::make_shared<UniqueFd>(std::move(fd))] {
        socket->reset();
        return done();
      },
      to_undefined);
  return env.Undefined();
}

}  // namespace

Napi::Value lend(Napi::Env env, UniqueFd& fd) {
  instance(env).lent[fd.get()] = lent_inode(fd.get());
  return Napi::Number::New(env, fd.release());
}

// Node has closed its handles by now, those that adopted a descriptor among them: its number may be another's.
void close_lent(const std::map<int, std::uint64_t>& lent) {
  for (const auto& [fd, inode] : lent) {
    if (lent_inode(fd) == inode) ::close(fd);
  }
}

Napi::Value create_netns(const Napi::CallbackInfo& info) {
  return PromiseWorker<Unit>::run(
      info.Env(), [path = text_of(info[0])] { return create_namespace(path); }, to_undefined);
}

Napi::Value delete_netns(const Napi::CallbackInfo& info) {
  return PromiseWorker<Unit>::run(
      info.Env(), [path = text_of(info[0])] { return delete_namespace(path); }, to_undefined);
}

Napi::Value write_sysctl_value(const Napi::CallbackInfo& info) {
  return PromiseWorker<Unit>::run(
      info.Env(),
      [path = text_of(info[0]), name = text_of(info[1]), value = text_of(info[2])] {
        return write_sysctl(path, name, value);
      },
      to_undefined);
}

Napi::Value read_proc_net_text(const Napi::CallbackInfo& info) {
  constexpr std::size_t kMost = 8 << 20;
  const bool ipv6 = text_of(info[1]) == "udp6";
  return PromiseWorker<std::string>::run(
      info.Env(), [ipv6, path = text_of(info[0])] { return read_proc_net(path, ipv6 ? "udp6" : "udp", kMost); },
      [](Napi::Env env, std::string& text) -> Napi::Value { return Napi::String::New(env, text); });
}

Napi::Value announce_endpoint(const Napi::CallbackInfo& info) {
  std::vector<Ip> ips;
  if (info[3].IsArray()) {
    const auto list = info[3].As<Napi::Array>();
    for (std::uint32_t i = 0; i < list.Length(); ++i) {
      if (const auto ip = Ip::parse(text_of(list.Get(i)))) ips.push_back(*ip);
    }
  }
  const Mac mac = Mac::parse(text_of(info[2])).value_or(Mac{});
  return PromiseWorker<UniqueFd>::run(
      info.Env(),
      [ips = std::move(ips), mac, netns = text_of(info[0]), link = text_of(info[1])] {
        return announce(netns, link, ips, mac);
      },
      close_behind);
}

Napi::Value open_unix_socket(const Napi::CallbackInfo& info) {
  const bool listening = text_of(info[2]) == "listen";
  return PromiseWorker<UniqueFd>::run(
      info.Env(),
      [listening, path = text_of(info[0]), name = text_of(info[1])] {
        return listening ? listen_abstract(path, name) : connect_abstract(path, name);
      },
      lend);
}

Napi::Value peer_of(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  if (!info[0].IsNumber()) return env.Undefined();
  ucred credentials{};
  socklen_t size = sizeof credentials;
  const int fd = info[0].As<Napi::Number>().Int32Value();
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return env.Undefined();
  auto peer = Napi::Object::New(env);
  peer.Set("pid", Napi::Number::New(env, credentials.pid));
  peer.Set("uid", Napi::Number::New(env, credentials.uid));
  return peer;
}

Napi::Value open_ip_socket_fd(const Napi::CallbackInfo& info) {
  IpSocketOptions options;
  if (!info[1].IsObject()) return info.Env().Undefined();
  const auto given = info[1].As<Napi::Object>();
  const Napi::Value address = given.Get("address");
  options.datagram = truth_of(given.Get("datagram"));
  options.family = number_of(given.Get("family")) == 6 ? AF_INET6 : AF_INET;
  if (address.IsString()) options.address = Ip::parse(text_of(address)).value_or(Ip{});
  options.port = static_cast<std::uint16_t>(number_of(given.Get("port")));
  options.ipv6_only = truth_of(given.Get("ipv6Only"));
  options.reuse_address = truth_of(given.Get("reuseAddress"));
  options.reuse_port = truth_of(given.Get("reusePort"));
  return PromiseWorker<UniqueFd>::run(
      info.Env(), [options, path = text_of(info[0])] { return open_ip_socket(path, options); }, lend);
}

void adopted(const Napi::CallbackInfo& info) {
  if (info[0].IsNumber()) instance(info.Env()).lent.erase(info[0].As<Napi::Number>().Int32Value());
}

}  // namespace overns
