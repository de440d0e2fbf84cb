// Namespaces and abstract unix sockets, for JavaScript.
#pragma once

#include "base/unique_fd.h"
#include "binding/convert.h"

namespace overns {

Napi::Value create_netns(const Napi::CallbackInfo& info);
Napi::Value delete_netns(const Napi::CallbackInfo& info);
Napi::Value write_sysctl_value(const Napi::CallbackInfo& info);
// readProcNet(netns, 'udp' | 'udp6'): Promise<string>
Napi::Value read_proc_net_text(const Napi::CallbackInfo& info);
// announce(netns, link, mac, ips): Promise<void>
Napi::Value announce_endpoint(const Napi::CallbackInfo& info);
// openUnixSocket(netns, name, 'listen' | 'connect'): Promise<fd>
Napi::Value open_unix_socket(const Napi::CallbackInfo& info);
// peerOf(fd): { pid, uid } of the process that made the other end of a unix socket, or that listened there; undefined
// where the kernel does not say
Napi::Value peer_of(const Napi::CallbackInfo& info);
// openIpSocket(netns, { datagram, family, address?, port, ipv6Only, reuseAddress, reusePort }): Promise<fd>
Napi::Value open_ip_socket_fd(const Napi::CallbackInfo& info);
// Gives a descriptor to JavaScript, to be closed with the environment until `adopted`.
Napi::Value lend(Napi::Env env, UniqueFd& fd);
// adopted(fd): Node closes it from now on
void adopted(const Napi::CallbackInfo& info);

}  // namespace overns
