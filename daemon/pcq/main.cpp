// SPDX-License-Identifier: Apache-2.0
//
// pcq: messages from one host to another through a queue in two files of a famfs mount; a test of
// what the hosts see of each other's memory.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/test_pattern.h"
#include "cli/command.h"
#include "cli/file_maker.h"
#include "memory/open.h"
#include "pcq/queue.h"

namespace {

using namespace famfs;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::microseconds kPause{200};

struct Options {
  std::string queue;
  bool create = false;
  bool produce = false;
  bool consume = false;
  bool info = false;
  bool drain = false;
  bool wait = false;
  int verbose = 0;
  std::uint64_t bucket_size = 1024;
  std::uint64_t buckets = 1024;
  std::uint32_t uid = geteuid();
  std::uint32_t gid = getegid();
  std::uint64_t messages = 0;
  std::uint32_t seconds = 0;
  std::uint32_t seed = 0;
  std::uint32_t status_seconds = 0;
  std::string status_file;
  std::string permissions;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("QUEUE", options.queue, "the producer's file; the consumer's is QUEUE.consumer")
      ->required();
  app.add_flag("-C,--create", options.create, "make the queue (on the master)");
  cli::add_size(app, "-b,--bsize", options.bucket_size,
                "bytes of a bucket, 16 of them for sequence number and checksum (default 1024)");
  cli::add_size(app, "-n,--nbuckets", options.buckets, "buckets (default 1024)");
  cli::add_number(app, "-u,--uid", options.uid, UINT32_MAX, "owner of the files (default: you)");
  cli::add_number(app, "-g,--gid", options.gid, UINT32_MAX, "group of the files (default: yours)");
  app.add_flag("-p,--producer", options.produce, "send messages");
  app.add_flag("-c,--consumer", options.consume, "receive and check messages");
  cli::add_size(app, "-N,--nmessages", options.messages, "end after so many messages");
  cli::add_number(app, "-t,--time", options.seconds, UINT32_MAX, "end after so many seconds");
  cli::add_number(app, "-S,--seed", options.seed, UINT32_MAX,
                  "content of messages, checked by a consumer with the same (0: not checked)");
  cli::add_number(app, "-s,--status", options.status_seconds, UINT32_MAX,
                  "print where it is every so many seconds");
  app.add_flag("-w,--wait", options.wait, "wait until the queue is made");
  app.add_flag("-i,--info", options.info, "show geometry and counters");
  app.add_flag("-d,--drain", options.drain, "receive what is there, then end");
  app.add_option("-f,--statusfile", options.status_file,
                 "write the totals to this file at the end");
  app.add_option("-P,--setperm", options.permissions,
                 "who may write on this host from now on: p(roducer), c(onsumer), b(oth), n(one)")
      ->check(CLI::IsMember({"p", "c", "b", "n"}));
  app.add_flag("-v,--verbose", options.verbose, "name each message");
  cli::accept_ignored_flags(app, {"-D,--dontflush"});
  app.footer(
      "Exit code: 0 done; 74 (EBADMSG) a message has a wrong checksum, 84 (EILSEQ) a message is "
      "missing or has other content, 110 (ETIMEDOUT) the time was up before all messages, else the "
      "errno.");
}

std::string consumer_file(const Options& options) { return options.queue + ".consumer"; }

// Files of a mount that cannot be mapped are read and written a line at a time instead.
std::unique_ptr<memory::SharedMemory> open(const std::string& path, memory::Access access) {
  try {
    return memory::open_memory(path, access, memory::Backend::kFile);
  } catch (const base::Error& error) {
    if (error.code() != ENODEV) throw;
    return memory::open_memory(path, access, memory::Backend::kNoncoherent);
  }
}

template <typename End>
std::unique_ptr<End> open_end(const Options& options, memory::Access producer,
                              memory::Access consumer) {
  while (true) {
    try {
      return std::make_unique<End>(open(options.queue, producer),
                                   open(consumer_file(options), consumer));
    } catch (const base::Error& error) {
      // Not there yet, or not all of it.
      const bool soon = error.code() == ENOENT || error.code() == EUCLEAN;
      if (!options.wait || !soon) throw;
    }
    std::this_thread::sleep_for(kPause);
  }
}

void create(const Options& options) {
  const pcq::Geometry geometry{options.bucket_size, options.buckets};
  const cli::Ownership ownership{0644, options.uid, options.gid};
  const std::vector<cli::WantedFile> wanted{
      {options.queue, pcq::producer_file_size(geometry), ownership},
      {consumer_file(options), pcq::kHeaderSize, ownership}};
  int code = cli::kExitOk;
  for (const cli::Made made : cli::make_files("pcq", wanted, {}, code)) {
    if (made == cli::Made::kFailed) throw base::Error(code, "{} was not made", options.queue);
    if (made == cli::Made::kExisted) throw base::Error(EEXIST, "{} exists", options.queue);
  }
  const auto producer = open(options.queue, memory::Access::kReadWrite);
  const auto consumer = open(consumer_file(options), memory::Access::kReadWrite);
  pcq::format(*producer, *consumer, geometry);
}

void set_permissions(const Options& options) {
  const auto set = [](const std::string& path, bool writable) {
    if (chmod(path.c_str(), writable ? 0644 : 0444) != 0) {
      throw base::system_error("cannot change the mode of " + path);
    }
  };
  const char who = options.permissions.front();
  set(options.queue, who == 'p' || who == 'b');
  set(consumer_file(options), who == 'c' || who == 'b');
}

void print_info(const Options& options) {
  const auto queue =
      open_end<pcq::Queue>(options, memory::Access::kReadOnly, memory::Access::kReadOnly);
  const pcq::Counters counters = queue->counters();
  fmt::print(
      "{}: {} buckets of {} bytes\nproducer: bucket {}, next message {}\nconsumer: bucket "
      "{}, next message {}\n",
      options.queue, queue->geometry().buckets, queue->geometry().bucket_size,
      counters.producer_index, counters.next_produced, counters.consumer_index,
      counters.next_consumed);
}

// Moves messages until count or time says so. `move` handles one; false if it has to wait.
class Run {
 public:
  Run(const Options& options, const char* what) : options_(options), what_(what) {}

  template <typename Move>
  void operator()(Move move) {
    auto shown = start_;
    while (options_.messages == 0 || done_ < options_.messages) {
      const auto now = Clock::now();
      if (options_.status_seconds != 0 &&
          now - shown >= std::chrono::seconds(options_.status_seconds)) {
        shown = now;
        fmt::print("{} {} messages\n", what_, done_);
        std::fflush(stdout);
      }
      if (move()) {
        ++done_;
        continue;
      }
      ++waits_;
      if (options_.drain) break;
      if (options_.seconds != 0 && now - start_ >= std::chrono::seconds(options_.seconds)) break;
      std::this_thread::sleep_for(kPause);
    }
    report();
    if (done_ < options_.messages && !options_.drain) {
      throw base::Error(ETIMEDOUT, "{} {} of {} messages in {} s", what_, done_, options_.messages,
                        options_.seconds);
    }
  }

 private:
  void report() const {
    const std::string text =
        fmt::format("{} {} messages, waited {} times, {:.3f} s\n", what_, done_, waits_,
                    std::chrono::duration<double>(Clock::now() - start_).count());
    fmt::print("{}", text);
    if (options_.status_file.empty()) return;
    const base::FileDescriptor file =
        base::open_file(options_.status_file, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
      throw base::system_error("cannot write " + options_.status_file);
    }
  }

  const Options& options_;
  const char* what_;
  const Clock::time_point start_ = Clock::now();
  std::uint64_t done_ = 0;
  std::uint64_t waits_ = 0;
};

// Content of message `number`: differs from that of its neighbours.
void fill(std::vector<std::byte>& payload, std::uint32_t seed, std::uint64_t number) {
  base::TestPattern(seed + static_cast<std::uint32_t>(number)).fill(payload);
}

void produce(const Options& options) {
  const auto queue =
      open_end<pcq::Producer>(options, memory::Access::kReadWrite, memory::Access::kReadOnly);
  std::vector<std::byte> payload(queue->geometry().payload());
  Run(options, "produced")([&] {
    fill(payload, options.seed, queue->next());
    if (!queue->put(payload)) return false;
    if (options.verbose > 0) fmt::print("produced message {}\n", queue->next() - 1);
    return true;
  });
}

void consume(const Options& options) {
  const auto queue =
      open_end<pcq::Consumer>(options, memory::Access::kReadOnly, memory::Access::kReadWrite);
  std::vector<std::byte> payload(queue->geometry().payload());
  std::vector<std::byte> wanted(payload.size());
  Run(options, "consumed")([&] {
    if (!queue->get(payload)) return false;
    const std::uint64_t number = queue->next() - 1;
    fill(wanted, options.seed, number);
    if (options.seed != 0 && payload != wanted) {
      throw base::Error(EILSEQ, "{}: message {} has not the content of seed {}", options.queue,
                        number, options.seed);
    }
    if (options.verbose > 0) fmt::print("consumed message {}\n", number);
    return true;
  });
}

int run(const Options& options) {
  const int ends = (options.produce ? 1 : 0) + (options.consume || options.drain ? 1 : 0);
  if (ends > 1) throw cli::UsageError("one process is one end: --producer or --consumer");
  if (ends == 0 && !options.create && !options.info && options.permissions.empty()) {
    throw cli::UsageError("give --create, --producer, --consumer, --drain, --info or --setperm");
  }
  if (options.create) create(options);
  if (!options.permissions.empty()) set_permissions(options);
  if (options.produce) produce(options);
  if (options.consume || options.drain) consume(options);
  if (options.info) print_info(options);
  return cli::kExitOk;
}

int run_program(std::vector<std::string> arguments) {
  CLI::App app{"Sends messages between two hosts through a queue in a famfs.", "pcq"};
  app.set_help_flag(cli::kHelpFlags, "print this help and exit");
  app.set_version_flag("-V,--version", "pcq " FAMFS_VERSION);
  Options options;
  declare(app, options);
  return cli::parse_and_run(app, std::move(arguments), [&] { return run(options); });
}

}  // namespace

int main(int argc, char** argv) {
  return cli::run_guarded("pcq", [&] { return run_program({argv + 1, argv + argc}); });
}
