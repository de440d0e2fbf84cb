// netns/: named namespaces, files and sockets in other ones.
#include "netns/namespace.h"

#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "netlink/command_socket.h"
#include "netns/proc_files.h"
#include "netns/socket.h"
#include "netns/unix_socket.h"
#include "rtnl/link.h"
#include "support.h"

using namespace overns;
namespace fs = std::filesystem;

namespace {

// A folder for names, which creating one makes a mount point; gone afterwards with all that is mounted in it.
class Folder {
 public:
  Folder() {
    std::string name = (fs::temp_directory_path() / "overns-netns-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    for (const auto& entry : fs::directory_iterator(path_)) umount2(entry.path().c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    while (umount2(path_.c_str(), MNT_DETACH) == 0) {
    }
    fs::remove_all(path_);
  }
  std::string name(const std::string& file) const { return path_ + "/" + file; }

 private:
  std::string path_;
};

bool permitted() { return support::Namespace::make().has_value(); }

std::string own_namespace() { return fs::read_symlink("/proc/thread-self/ns/net").string(); }

std::string namespace_at(const std::string& path) {
  std::string seen;
  const Status status = run_in_namespace(path, [&] {
    seen = own_namespace();
    return done();
  });
  CHECK(status.ok());
  return seen;
}

int error_of(const Status& status) { return status.ok() ? 0 : status.failure().error; }

}  // namespace

TEST_CASE("namespaces: made, entered, unmade") {
  if (!permitted()) return;
  const Folder folder;
  const std::string path = folder.name("one");
  const std::string before = own_namespace();
  REQUIRE(create_namespace(path).ok());
  CHECK(own_namespace() == before);  // the caller stays where it is
  const std::string made = namespace_at(path);
  CHECK(made != before);
  CHECK(namespace_at(path) == made);
  CHECK(own_namespace() == before);

  // It is a new one: nothing but a loopback, down.
  auto socket = CommandSocket::open(path);
  REQUIRE(socket.ok());
  RequestBatch batch;
  encode_get_link(batch, 0, {});
  auto dump = socket->dump(batch);
  REQUIRE(dump.ok());
  MessageReader reader(dump->bytes);
  CHECK(decode_link(*reader.next())->name == "lo");
  CHECK_FALSE(reader.next());

  CHECK(error_of(create_namespace(path)) == EEXIST);
  CHECK(namespace_at(path) == made);
  REQUIRE(delete_namespace(path).ok());
  CHECK_FALSE(fs::exists(path));
  CHECK(error_of(delete_namespace(path)) == ENOENT);
  // A socket keeps its namespace.
  CHECK(link_index(*socket, "lo").ok());
  REQUIRE(create_namespace(path).ok());
  CHECK(namespace_at(path) != made);
}

TEST_CASE("namespaces: one without a name lives as long as its socket") {
  if (!permitted()) return;
  auto first = CommandSocket::open_scratch();
  auto second = CommandSocket::open_scratch();
  REQUIRE(first.ok());
  REQUIRE(second.ok());
  RequestBatch batch;
  LinkSpec bridge;
  bridge.kind = "bridge";
  bridge.name = "br0";
  encode_link(batch, bridge, NLM_F_CREATE | NLM_F_EXCL);
  REQUIRE(first->execute(batch).ok());
  CHECK(link_index(*first, "br0").ok());
  // Neither in another new one, nor here.
  CHECK_FALSE(link_index(*second, "br0").ok());
  auto here = CommandSocket::open({});
  REQUIRE(here.ok());
  CHECK_FALSE(link_index(*here, "br0").ok());
}

TEST_CASE("namespaces: made by many at once") {
  if (!permitted()) return;
  const Folder folder;
  std::atomic<int> made{0};
  std::atomic<int> existed{0};
  std::vector<std::thread> threads;
  threads.reserve(8);
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 4; ++k) {
        // Half of the names are wanted by two.
        const int error =
            error_of(create_namespace(folder.name("n" + std::to_string(k) + "-" + std::to_string(i / 2))));
        if (error == 0) ++made;
        if (error == EEXIST) ++existed;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(made == 16);
  CHECK(existed == 16);
  for (int k = 0; k < 4; ++k) {
    for (int i = 0; i < 4; ++i) {
      const std::string path = folder.name("n" + std::to_string(k) + "-" + std::to_string(i));
      CHECK(namespace_at(path) != own_namespace());
      CHECK(delete_namespace(path).ok());
    }
  }
}

TEST_CASE("namespaces: what is none is neither unmounted nor removed") {
  if (!permitted()) return;
  const Folder folder;
  const std::string one = folder.name("one");
  REQUIRE(create_namespace(one).ok());

  const std::string file = folder.name("file");
  std::ofstream(file) << "precious";
  CHECK(error_of(delete_namespace(file)) == EINVAL);
  CHECK(fs::file_size(file) == 8);

  const std::string mounted = folder.name("mounted");
  fs::create_directory(mounted);
  REQUIRE(mount("none", mounted.c_str(), "tmpfs", 0, "size=64k") == 0);
  std::ofstream(mounted + "/inside") << "precious";
  CHECK(error_of(delete_namespace(mounted)) == EINVAL);
  CHECK(fs::exists(mounted + "/inside"));

  const std::string bound = folder.name("bound");
  std::ofstream(bound).close();
  REQUIRE(mount(file.c_str(), bound.c_str(), "none", MS_BIND, nullptr) == 0);
  CHECK(error_of(delete_namespace(bound)) == EINVAL);
  CHECK(fs::file_size(bound) == 8);

  // Of another kind.
  const std::string uts = folder.name("uts");
  std::ofstream(uts).close();
  REQUIRE(mount("/proc/self/ns/uts", uts.c_str(), "none", MS_BIND, nullptr) == 0);
  CHECK(error_of(delete_namespace(uts)) == EINVAL);
  CHECK(umount2(uts.c_str(), MNT_DETACH) == 0);

  // What a link points to is somebody else's.
  const std::string link = folder.name("link");
  fs::create_symlink(one, link);
  CHECK_FALSE(delete_namespace(link).ok());
  CHECK(fs::is_symlink(link));
  CHECK(namespace_at(one) != own_namespace());

  // A name left behind by a crash has no namespace any more.
  const std::string left = folder.name("left");
  std::ofstream(left).close();
  CHECK(delete_namespace(left).ok());
  CHECK_FALSE(fs::exists(left));
}

TEST_CASE("namespaces: a creation that fails leaves nothing behind") {
  if (!permitted()) return;
  const std::size_t before = support::open_descriptors();
  CHECK(error_of(create_namespace("no-folder")) == EINVAL);
  CHECK(error_of(create_namespace("/name-in-the-root")) == EINVAL);
  CHECK(error_of(create_namespace("/proc/overns-netns-test/one")) != 0);
  CHECK(support::open_descriptors() == before);
}

TEST_CASE("namespaces: what cannot be entered is an error, also where opening it would wait") {
  const Folder folder;
  const auto nothing = [] { return done(); };
  CHECK(error_of(run_in_namespace(folder.name("none"), nothing)) == ENOENT);
  const std::string fifo = folder.name("fifo");
  REQUIRE(mkfifo(fifo.c_str(), 0600) == 0);
  CHECK(error_of(run_in_namespace(fifo, nothing)) != 0);
  CHECK(error_of(run_in_namespace("/dev/null", nothing)) != 0);
}

TEST_CASE("namespaces: a sysctl is written in the namespace that is meant") {
  const auto netns = support::Namespace::make();
  if (!netns) return;
  const auto value = [&](const std::string& path) {
    std::string text;
    const Status status = run_in_namespace(path, [&] {
      std::ifstream("/proc/sys/net/ipv4/ip_default_ttl") >> text;
      return done();
    });
    CHECK(status.ok());
    return text;
  };
  const std::string here = value("");
  REQUIRE(write_sysctl(netns->path(), "ipv4/ip_default_ttl", "77").ok());
  CHECK(value(netns->path()) == "77");
  CHECK(value("") == here);
  CHECK(error_of(write_sysctl(netns->path(), "ipv4/no_such_thing", "1")) == ENOENT);
  CHECK(error_of(write_sysctl(netns->path(), "ipv4/ip_default_ttl", "nonsense")) == EINVAL);
}

TEST_CASE("abstract sockets: a name has one holder in a namespace, until its last descriptor is closed") {
  const auto netns = support::Namespace::make();
  const auto other = support::Namespace::make();
  if (!netns || !other) return;
  const std::string name = "overns-test";
  const auto refused = [&](const Result<UniqueFd>& result) { return result.ok() ? 0 : result.failure().error; };
  CHECK(refused(connect_abstract(netns->path(), name)) == ECONNREFUSED);
  auto holder = listen_abstract(netns->path(), name);
  REQUIRE(holder.ok());
  CHECK(refused(listen_abstract(netns->path(), name)) == EADDRINUSE);
  CHECK(listen_abstract(other->path(), name).ok());  // another namespace, another name
  auto connection = connect_abstract(netns->path(), name);
  REQUIRE(connection.ok());
  CHECK((fcntl(holder->get(), F_GETFD) & FD_CLOEXEC) != 0);

  // Another process that holds it too, and ends without a word.
  int until[2];
  REQUIRE(pipe(until) == 0);
  const pid_t child = fork();
  if (child == 0) {
    char byte;
    (void)!read(until[0], &byte, 1);
    _exit(0);
  }
  REQUIRE(child > 0);
  holder->reset();
  CHECK(refused(listen_abstract(netns->path(), name)) == EADDRINUSE);
  REQUIRE(write(until[1], "x", 1) == 1);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  close(until[0]);
  close(until[1]);
  CHECK(listen_abstract(netns->path(), name).ok());

  CHECK(refused(listen_abstract(netns->path(), std::string(200, 'x'))) == ENAMETOOLONG);
  CHECK(refused(connect_abstract(netns->path(), std::string(200, 'x'))) == ENAMETOOLONG);
}
