#include "binding/rtnl.h"

#include <sys/socket.h>

#include <memory>
#include <mutex>

#include "base/text.h"
#include "binding/batch.h"
#include "binding/entries.h"
#include "binding/fields.h"
#include "binding/instance.h"
#include "binding/listing.h"
#include "binding/name_resolver.h"
#include "binding/worker.h"
#include "netns/namespace.h"
#include "netns/tun.h"
#include "rtnl/neighbor_table.h"

namespace overns {
namespace {

// Shared with the work under way: closing the handle while a request runs frees nothing under it.
struct Channel {
  explicit Channel(CommandSocket opened) : socket(std::move(opened)) {}
  std::mutex mutex;
  CommandSocket socket;
};

class Rtnl : public Napi::ObjectWrap<Rtnl> {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(
        env, "Rtnl",
        {InstanceMethod<&Rtnl::batch>("batch"), InstanceMethod<&Rtnl::check>("check"),
         InstanceMethod<&Rtnl::entries>("entries"), InstanceMethod<&Rtnl::addresses>("addresses"),
         InstanceMethod<&Rtnl::list>("list"), InstanceMethod<&Rtnl::route>("route"),
         InstanceMethod<&Rtnl::flush>("flush"), InstanceMethod<&Rtnl::nsid>("nsid"), InstanceMethod<&Rtnl::tun>("tun"),
         InstanceMethod<&Rtnl::neighbor_queue>("neighborQueue"), InstanceMethod<&Rtnl::close>("close")});
  }

  explicit Rtnl(const Napi::CallbackInfo& info) : Napi::ObjectWrap<Rtnl>(info) {
    if (info.Length() != 1 || !info[0].IsExternal()) {
      Napi::TypeError::New(info.Env(), "use openRtnl()").ThrowAsJavaScriptException();
      return;
    }
    channel_ = *info[0].As<Napi::External<std::shared_ptr<Channel>>>().Data();
  }

 private:
  bool closed(Napi::Env env) const {
    if (channel_) return false;
    Napi::Error::New(env, "the socket is closed").ThrowAsJavaScriptException();
    return true;
  }

  // The operations of batch(table, operations) and check(); nothing where an exception has been thrown.
  std::shared_ptr<std::vector<Command>> commands_of(const Napi::CallbackInfo& info) const {
    const Napi::Env env = info.Env();
    if (closed(env)) return nullptr;
    const auto table = info[0].IsString() ? parse_table(info[0].As<Napi::String>()) : std::nullopt;
    if (!table || !info[1].IsArray()) {
      Napi::TypeError::New(env, "expected a table and its operations").ThrowAsJavaScriptException();
      return nullptr;
    }
    const auto list = info[1].As<Napi::Array>();
    auto commands = std::make_shared<std::vector<Command>>();
    commands->reserve(list.Length());
    for (std::uint32_t i = 0; i < list.Length(); ++i) {
      Napi::HandleScope scope(env);
      const Napi::Value item = list.Get(i);
      if (!item.IsObject()) {
        Napi::TypeError::New(env, "operation " + std::to_string(i) + ": expected an object")
            .ThrowAsJavaScriptException();
        return nullptr;
      }
      const std::string path = list.Length() > 1 ? "operations[" + std::to_string(i) + "]: " : std::string();
      auto command = parse_command(env, *table, item.As<Napi::Object>(), path);
      if (!command) return nullptr;
      commands->push_back(std::move(*command));
    }
    return commands;
  }

  // check(table, operations): throws what batch() would for a wrong value, and sends nothing.
  void check(const Napi::CallbackInfo& info) { commands_of(info); }

  Napi::Value batch(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    auto commands = commands_of(info);
    if (!commands) return env.Undefined();
    return PromiseWorker<Answers>::run(
        env,
        [channel = channel_, commands] {
          const std::lock_guard lock(channel->mutex);
          return run_batch(channel->socket, *commands);
        },
        [](Napi::Env of, Answers& answers) -> Napi::Value {
          auto result = Napi::Array::New(of, answers.size());
          for (std::uint32_t i = 0; i < answers.size(); ++i) {
            result.Set(i, answers[i] ? Napi::Value(describe(of, *answers[i])) : of.Null());
          }
          return result;
        });
  }

  // addresses(records, first, count, text): whether read_addresses() could.
  Napi::Value addresses(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (!info[0].IsTypedArray() || !info[3].IsString()) {
      Napi::TypeError::New(env, "addresses(records, first, count, text)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    auto array = info[0].As<Napi::Uint8Array>();
    const auto at = [&](std::size_t i) { return static_cast<std::size_t>(number_of(info[i])); };
    const std::string text = info[3].As<Napi::String>();
    const std::span<std::uint8_t> records(array.Data(), array.ByteLength());
    return Napi::Boolean::New(env, read_addresses(records, at(1), at(2), text));
  }

  // entries(table, records, links, indexes): the failures as [index, failure, index, failure, ...]
  Napi::Value entries(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    if (!info[1].IsTypedArray() || !info[2].IsArray() || !info[3].IsArray()) {
      Napi::TypeError::New(env, "entries(table, records, links, indexes)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const bool fdb = text_of(info[0]) == "fdb";
    const auto array = info[1].As<Napi::Uint8Array>();
    const Bytes records(array.Data(), array.ByteLength());
    const auto names = info[2].As<Napi::Array>();
    const auto indexes = info[3].As<Napi::Array>();
    std::vector<LinkRef> links;
    for (std::uint32_t i = 0; i < names.Length(); ++i)
      links.push_back({from_utf8(text_of(names.Get(i))), static_cast<std::int32_t>(number_of(indexes.Get(i)))});
    // The records are read where they lie; the reference keeps them there.
    auto keep = std::make_shared<Napi::ObjectReference>(Napi::Persistent(array.As<Napi::Object>()));
    return PromiseWorker<std::vector<EntryFailure>>::run(
        env,
        [channel = channel_, fdb, records, links] {
          const std::lock_guard lock(channel->mutex);
          return send_entries(channel->socket, fdb, records, links);
        },
        [keep](Napi::Env of, std::vector<EntryFailure>& failures) -> Napi::Value {
          auto result = Napi::Array::New(of, failures.size() * 2);
          std::uint32_t at = 0;
          for (const EntryFailure& each : failures) {
            Napi::HandleScope scope(of);
            result.Set(at++, static_cast<double>(each.index));
            result.Set(at++, describe(of, each.failure));
          }
          return result;
        });
  }

  Napi::Value list(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    const auto table = info[0].IsString() ? parse_table(info[0].As<Napi::String>()) : std::nullopt;
    if (!table || !info[1].IsObject()) {
      Napi::TypeError::New(env, "list(table, filter)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const auto filter = parse_filter(env, *table, info[1].As<Napi::Object>());
    if (!filter) return env.Undefined();
    const bool entries = *table == Table::kNeighbor || *table == Table::kFdb;
    return PromiseWorker<Listing>::run(
        env,
        [channel = channel_, table = *table, filter = *filter] {
          const std::lock_guard lock(channel->mutex);
          return list_table(channel->socket, table, filter);
        },
        [entries](Napi::Env of, Listing& listing) -> Napi::Value {
          if (entries) {
            auto rows = listing.rows.to_js(of);
            if (listing.interrupted) rows.Set("interrupted", true);
            return rows;
          }
          auto result = Napi::Array::New(of, listing.items.size());
          for (std::uint32_t i = 0; i < listing.items.size(); ++i) {
            Napi::HandleScope scope(of);
            std::visit([&](const auto& item) { result.Set(i, to_js(of, item, listing.names)); }, listing.items[i]);
          }
          // Data and error both: the caller gets what there is and learns that it may not be consistent.
          if (listing.interrupted) result.Set("interrupted", true);
          return result;
        });
  }

  // route(query): the one route that the kernel chooses.
  Napi::Value route(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    if (!info[0].IsObject()) {
      Napi::TypeError::New(env, "route(query)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    auto command = parse_route_query(env, info[0].As<Napi::Object>());
    if (!command) return env.Undefined();
    return PromiseWorker<Listing>::run(
        env,
        [channel = channel_, command = std::move(*command)]() mutable {
          const std::lock_guard lock(channel->mutex);
          return get_route(channel->socket, command);
        },
        [](Napi::Env of, Listing& listing) -> Napi::Value {
          return to_js(of, std::get<RouteEntry>(listing.items.front()), listing.names);
        });
  }

  // flush(filter): a bulk deletion of FDB entries.
  Napi::Value flush(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    if (!info[0].IsObject()) {
      Napi::TypeError::New(env, "flush(filter)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    auto command = parse_flush(env, info[0].As<Napi::Object>());
    if (!command) return env.Undefined();
    return PromiseWorker<Unit>::run(
        env,
        [channel = channel_, command = std::move(*command)]() mutable -> Result<Unit> {
          const std::lock_guard lock(channel->mutex);
          NameResolver names(channel->socket);
          NeighborEntry& match = command.flush.match;
          std::int32_t via = 0;
          if (Status status = names.index(command.link, match.index); !status) return status.failure();
          if (Status status = names.index(command.via, via); !status) return status.failure();
          match.via = static_cast<std::uint32_t>(via);
          RequestBatch batch;
          encode_flush_fdb(batch, command.flush);
          return channel->socket.execute(batch);
        },
        to_undefined);
  }

  Napi::Value nsid(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    const std::string path = text_of(info[0]);
    return PromiseWorker<std::int32_t>::run(
        env,
        [channel = channel_, path]() -> Result<std::int32_t> {
          const std::lock_guard lock(channel->mutex);
          auto fd = open_namespace(path);
          if (!fd) return fd.failure();
          return namespace_id(channel->socket, fd->get());
        },
        [](Napi::Env of, std::int32_t& id) -> Napi::Value { return Napi::Number::New(of, id); });
  }

  // tun(item): makes a tun or tap device and gives its name.
  Napi::Value tun(const Napi::CallbackInfo& info) {
    static constexpr Name<int> kModes[] = {{"tun", 0}, {"tap", 1}};
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    if (!info[0].IsObject()) {
      Napi::TypeError::New(env, "tun(item)").ThrowAsJavaScriptException();
      return env.Undefined();
    }
    const Fields fields(env, info[0].As<Napi::Object>());
    const auto mode = fields.word("mode", kModes);
    TunSpec spec;
    spec.name = fields.text("name").value_or("");
    spec.tap = mode.value_or(0) == 1;
    // All bits set stand for none (INVALID_UID).
    constexpr std::uint64_t kMost = UINT32_MAX - 1;
    if (const auto owner = fields.number("owner", kMost)) spec.owner = static_cast<std::uint32_t>(*owner);
    if (const auto group = fields.number("groupId", kMost)) spec.group = static_cast<std::uint32_t>(*group);
    spec.pi = fields.boolean("pi").value_or(false);
    spec.vnet_hdr = fields.boolean("vnetHdr").value_or(false);
    spec.multi_queue = fields.boolean("multiQueue").value_or(false);
    if (!fields.failed() && !mode) fields.wrong<Unit>("mode", "tun or tap");
    if (fields.failed()) return env.Undefined();
    return PromiseWorker<std::string>::run(
        env,
        [channel = channel_, spec = std::move(spec)] {
          const std::lock_guard lock(channel->mutex);
          return create_tun(channel->socket.fd(), spec);
        },
        [](Napi::Env of, std::string& name) -> Napi::Value { return Napi::String::New(of, to_utf8(name)); });
  }

  // neighborQueue(link, bytes): for both families; one that the namespace lacks is left out.
  Napi::Value neighbor_queue(const Napi::CallbackInfo& info) {
    const Napi::Env env = info.Env();
    if (closed(env)) return env.Undefined();
    return PromiseWorker<Unit>::run(
        env,
        [channel = channel_, link = from_utf8(text_of(info[0])), bytes = number_of(info[1])]() -> Result<Unit> {
          const std::lock_guard lock(channel->mutex);
          auto index = link_index(channel->socket, link);
          if (!index) return index.failure();
          for (const std::uint8_t family : {AF_INET, AF_INET6}) {
            RequestBatch batch;
            encode_neighbor_queue(batch, family, *index, bytes);
            const Status status = channel->socket.execute(batch);
            if (!status && status.failure().error != ENOENT) return status.failure();
          }
          return done();
        },
        to_undefined);
  }

  void close(const Napi::CallbackInfo&) { channel_.reset(); }

  std::shared_ptr<Channel> channel_;
};

template <class Open>
Napi::Value open_channel(Napi::Env env, Open open) {
  return PromiseWorker<std::shared_ptr<Channel>>::run(
      env,
      [open = std::move(open)]() -> Result<std::shared_ptr<Channel>> {
        auto socket = open();
        if (!socket) return socket.failure();
        return std::make_shared<Channel>(std::move(*socket));
      },
      [](Napi::Env of, std::shared_ptr<Channel>& channel) -> Napi::Value {
        return instance(of).rtnl.New({Napi::External<std::shared_ptr<Channel>>::New(of, &channel)});
      });
}

}  // namespace

Napi::Function define_rtnl(Napi::Env env) { return Rtnl::define(env); }

Napi::Value open_rtnl(const Napi::CallbackInfo& info) {
  return open_channel(info.Env(), [netns = text_of(info[0])] { return CommandSocket::open(netns); });
}

Napi::Value open_scratch_rtnl(const Napi::CallbackInfo& info) {
  return open_channel(info.Env(), [] { return CommandSocket::open_scratch(); });
}

}  // namespace overns
