// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "cli/commands.h"
#include "cli/file_io.h"
#include "cli/file_maker.h"
#include "cli/layout_options.h"
#include "cli/mount_client.h"
#include "cli/parallel.h"
#include "cli/progress.h"

namespace famfs::cli {
namespace {

constexpr std::uint32_t kMaxThreads = 256;
constexpr std::uint64_t kWorkBytes = 128U << 20;  // of one file that one thread takes at a time
constexpr std::uint32_t kPermissionBits = 0777;
constexpr std::uint32_t kOwnerMayEnter = 0700;

struct Options {
  std::vector<std::string> paths;
  bool recursive = false;
  std::uint32_t threads = 0;
  std::uint32_t mode = 0;
  std::uint32_t uid = geteuid();
  std::uint32_t gid = getegid();
  int verbose = 0;
  bool compare = false;
  LayoutOptions layout;
  const CLI::Option* mode_option = nullptr;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("PATH", options.paths, "SOURCE... DESTINATION (the last one, in a famfs mount)")
      ->required()
      ->expected(2, CLI::detail::expected_max_vector_size);
  app.add_flag("-r,--recursive", options.recursive, "copy directories and what is in them");
  add_number(app, "-t,--threadct", options.threads, kMaxThreads,
             "threads that copy (default 0: one after the other)");
  options.mode_option = add_mode(app, "-m,--mode", options.mode,
                                 "permissions in octal (default: those of the source)");
  add_number(app, "-u,--uid", options.uid, UINT32_MAX, "owner (default: you)");
  add_number(app, "-g,--gid", options.gid, UINT32_MAX, "group (default: yours)");
  app.add_flag("-c,--compare", options.compare, "read back and compare after copying");
  options.layout.declare(app);
  app.add_flag("-v,--verbose", options.verbose, "name each file");
  app.footer(
      "A destination that exists with the same size is written again in place, so an "
      "interrupted copy is completed by the same command.\nExit code: 0 all copied, 1 only empty "
      "files were "
      "left out, else the errno of the first failure.");
}

// A file to copy.
struct Copy {
  std::string source;
  WantedFile target;
  bool again = false;  // it existed
};

// A part of a copy that one thread does.
struct Part {
  const Copy* copy;
  std::uint64_t offset;
  std::uint64_t length;
};

class Copier {
 public:
  explicit Copier(const Options& options) : options_(options) {}

  int run() {
    std::vector<std::string> sources = options_.paths;
    std::string destination = sources.back();
    sources.pop_back();
    while (destination.size() > 1 && destination.ends_with('/')) destination.pop_back();
    const bool into = std::filesystem::is_directory(destination);
    if (sources.size() > 1 && !into) {
      throw base::Error(ENOTDIR, "{} is not a directory; several sources need one", destination);
    }
    for (const std::string& source : sources) {
      guarded([&] {
        const std::string name = split_path(canonical_source(source)).second;
        plan(source, into ? fmt::format("{}/{}", destination, name) : destination);
      });
    }
    make_all(options_.layout.interleave_for(destination));
    copy_all();
    if (options_.compare) compare_all();
    return code_;
  }

 private:
  // A source such as "." or "dir/" has its name only when resolved.
  static std::string canonical_source(const std::string& source) {
    std::error_code error;
    const auto resolved = std::filesystem::canonical(source, error);
    if (error) throw base::Error(error.value(), "cannot read {}: {}", source, error.message());
    // A link keeps its own name, as with cp(1).
    return std::filesystem::is_symlink(source) ? source : resolved.string();
  }

  // Reports a failure and goes on with the next file.
  template <typename Act>
  void guarded(Act act) {
    note(for_each_reported("famfs cp", 1, 1, [&](std::size_t) { act(); }));
  }

  Ownership ownership(const struct stat& source) const {
    return {options_.mode_option->count() != 0 ? options_.mode : source.st_mode & kPermissionBits,
            options_.uid, options_.gid};
  }

  void plan(const std::string& source, const std::string& target) {
    struct stat attributes = {};
    if (stat(source.c_str(), &attributes) != 0) throw base::system_error("cannot read " + source);
    if (S_ISDIR(attributes.st_mode)) {
      plan_directory(source, target, attributes);
    } else if (S_ISREG(attributes.st_mode)) {
      plan_file(source, target, attributes);
    } else {
      throw base::Error(EINVAL, "{} is neither a file nor a directory; famfs holds only those",
                        source);
    }
  }

  void plan_directory(const std::string& source, const std::string& target,
                      const struct stat& attributes) {
    if (!options_.recursive) {
      throw base::Error(EISDIR, "{} is a directory; copy it with -r", source);
    }
    const auto [parent, name] = split_path(target);
    Ownership wanted = ownership(attributes);
    // --mode is meant for files; without search permission a directory would be useless.
    if (options_.mode_option->count() != 0) wanted.mode |= kOwnerMayEnter;
    if (!std::filesystem::is_directory(target)) {
      MountedDirectory(parent).make_directory(name, wanted);
      if (options_.verbose > 0) fmt::print("made directory {}\n", target);
    }
    std::error_code error;
    std::vector<std::string> names;
    for (std::filesystem::directory_iterator it(source, error), end; !error && it != end;
         it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (error) throw base::Error(error.value(), "cannot read {}: {}", source, error.message());
    // The order in which a directory is read is no order; sorted, two copies lay out alike.
    std::sort(names.begin(), names.end());
    for (const std::string& child : names) {
      guarded(
          [&] { plan(fmt::format("{}/{}", source, child), fmt::format("{}/{}", target, child)); });
    }
  }

  void plan_file(const std::string& source, const std::string& target,
                 const struct stat& attributes) {
    const auto size = static_cast<std::uint64_t>(attributes.st_size);
    if (size == 0) {
      fmt::print(stderr, "famfs cp: {} is empty and left out; a famfs file has at least 1 byte\n",
                 source);
      if (code_ == kExitOk) code_ = kExitUsage;
      return;
    }
    // Before the destination is made: what cannot be read leaves nothing behind.
    base::open_file(source, O_RDONLY);
    copies_.push_back({source, {target, size, ownership(attributes)}});
  }

  // Makes the destinations; copies_ keeps those that are there now.
  void make_all(const Interleave& interleave) {
    std::vector<WantedFile> wanted;
    wanted.reserve(copies_.size());
    for (const Copy& copy : copies_) wanted.push_back(copy.target);
    int code = kExitOk;
    const std::vector<Made> made = make_files("famfs cp", wanted, interleave, code);
    note(code);
    std::vector<Copy> possible;
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      if (made[i] == Made::kFailed) continue;
      possible.push_back(std::move(copies_[i]));
      possible.back().again = made[i] == Made::kExisted;
    }
    copies_ = std::move(possible);
  }

  void copy_all() {
    std::vector<Part> parts;
    std::uint64_t total = 0;
    for (const Copy& copy : copies_) {
      for (std::uint64_t offset = 0; offset < copy.target.size; offset += kWorkBytes) {
        parts.push_back({&copy, offset, std::min(kWorkBytes, copy.target.size - offset)});
      }
      total += copy.target.size;
    }
    Progress progress("famfs cp", total);
    // Opened for each part: there may be more files than descriptors.
    note(for_each_reported("famfs cp", parts.size(), options_.threads, [&](std::size_t index) {
      const Part& part = parts[index];
      const Copy& copy = *part.copy;
      const auto source = base::open_file(copy.source, O_RDONLY);
      const auto target = base::open_file(copy.target.path, O_RDWR);
      copy_range(source.get(), copy.source, target.get(), copy.target.path, part.offset,
                 part.length, [&](std::uint64_t bytes) { progress.add(bytes); });
    }));
    note(for_each_reported("famfs cp", copies_.size(), options_.threads, [&](std::size_t index) {
      const std::string& path = copies_[index].target.path;
      flush_file(base::open_file(path, O_RDWR).get(), path);
    }));
    report();
  }

  void report() const {
    std::size_t again = 0;
    for (const Copy& copy : copies_) {
      if (copy.again) ++again;
      if (options_.verbose == 0) continue;
      fmt::print("{} {} to {} ({} bytes)\n", copy.again ? "copied again" : "copied", copy.source,
                 copy.target.path, copy.target.size);
    }
    if (again == 0) return;
    fmt::print(
        "{} files were made, {} existed with the same size and were written again in place\n",
        copies_.size() - again, again);
  }

  void compare_all() {
    note(for_each_reported("famfs cp", copies_.size(), options_.threads, [&](std::size_t index) {
      compare_files(copies_[index].source, copies_[index].target.path);
      if (options_.verbose > 0) fmt::print("compared {}\n", copies_[index].target.path);
    }));
  }

  void note(int code) {
    if (code != kExitOk && (code_ == kExitOk || code_ == kExitUsage)) code_ = code;
  }

  const Options& options_;
  std::vector<Copy> copies_;
  int code_ = kExitOk;
};

int work(const Options& options) { return Copier(options).run(); }

}  // namespace

Command cp_command() {
  return make_command<Options>("cp", "copy files into a famfs mount (master only)", declare, work);
}

}  // namespace famfs::cli
