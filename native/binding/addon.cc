// The addon's face: what lib/system/native.ts types.
#include "binding/instance.h"
#include "binding/monitor.h"
#include "binding/netns.h"
#include "binding/probe.h"
#include "binding/program.h"
#include "binding/reactor.h"
#include "binding/rtnl.h"
#include "binding/tables.h"

namespace overns {
namespace {

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  auto* data = new Instance();
  data->rtnl = Napi::Persistent(define_rtnl(env));
  data->monitor = Napi::Persistent(define_monitor(env));
  env.SetInstanceData(data);
  exports.Set("createNetns", Napi::Function::New<create_netns>(env, "createNetns"));
  exports.Set("deleteNetns", Napi::Function::New<delete_netns>(env, "deleteNetns"));
  exports.Set("readProcNet", Napi::Function::New<read_proc_net_text>(env, "readProcNet"));
  exports.Set("writeSysctl", Napi::Function::New<write_sysctl_value>(env, "writeSysctl"));
  exports.Set("announce", Napi::Function::New<announce_endpoint>(env, "announce"));
  exports.Set("openUnixSocket", Napi::Function::New<open_unix_socket>(env, "openUnixSocket"));
  exports.Set("peerOf", Napi::Function::New<peer_of>(env, "peerOf"));
  exports.Set("openIpSocket", Napi::Function::New<open_ip_socket_fd>(env, "openIpSocket"));
  exports.Set("adopted", Napi::Function::New<adopted>(env, "adopted"));
  exports.Set("ping", Napi::Function::New<ping_target>(env, "ping"));
  exports.Set("startProgram", Napi::Function::New<start_program_in>(env, "startProgram"));
  exports.Set("signalProgram", Napi::Function::New<signal_program>(env, "signalProgram"));
  exports.Set("refProgram", Napi::Function::New<ref_program>(env, "refProgram"));
  exports.Set("openRtnl", Napi::Function::New<open_rtnl>(env, "openRtnl"));
  exports.Set("openScratchRtnl", Napi::Function::New<open_scratch_rtnl>(env, "openScratchRtnl"));
  exports.Set("openMonitor", Napi::Function::New<open_monitor>(env, "openMonitor"));
  exports.Set("Reactor", define_reactor(env));
  exports.Set("tables", native_tables(env));
  return exports;
}

}  // namespace

NODE_API_MODULE(overns, initialize)

}  // namespace overns
