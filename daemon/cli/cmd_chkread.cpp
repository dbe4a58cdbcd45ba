// SPDX-License-Identifier: Apache-2.0
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/mapping.h"
#include "cli/commands.h"
#include "cli/file_io.h"
#include "media/log_header.h"
#include "media/superblock.h"

namespace famfs::cli {
namespace {

struct Options {
  std::string file;
  bool superblock = false;
  bool log = false;
};

void declare(CLI::App& app, Options& options) {
  app.add_option("FILE", options.file, "file of a famfs mount, or any other")->required();
  auto* superblock = app.add_flag("-s,--superblock", options.superblock,
                                  "it must begin with a sound superblock too");
  app.add_flag("-l,--log", options.log, "it must begin with a sound log header too")
      ->excludes(superblock);
  app.footer(
      "Exit code: 0 equal, 84 (EILSEQ) they differ, 117 (EUCLEAN) superblock or log is "
      "damaged, else the errno.");
}

// Where the kernel maps no files of the mount for sharing it does so for reading.
base::Mapping map_to_read(int fd, std::uint64_t size) {
  try {
    return base::Mapping::shared(fd, size, false);
  } catch (const base::Error& error) {
    if (error.code() != ENODEV) throw;
    return base::Mapping::copy_on_write(fd, size);
  }
}

template <typename T>
void require_sound(const media::Decoded<T>& decoded, const std::string& path) {
  if (decoded.value) return;
  throw base::Error(EUCLEAN, "{}: {}", path, media::to_string(decoded.findings.front()));
}

int work(const Options& options) {
  const base::FileDescriptor fd = base::open_file(options.file, O_RDONLY);
  const std::uint64_t size = regular_size(fd.get(), options.file);
  if (size == 0) throw base::Error(EINVAL, "{} is empty", options.file);
  flush_file(fd.get(), options.file);
  const base::Mapping mapping = map_to_read(fd.get(), size);
  const std::span<const std::byte> mapped(mapping.data(), size);

  std::vector<std::byte> buffer(kTransferBytes);
  for (std::uint64_t offset = 0; offset < size; offset += buffer.size()) {
    const std::size_t length = std::min<std::uint64_t>(buffer.size(), size - offset);
    const std::size_t got =
        read_full(fd.get(), options.file, std::span(buffer).first(length), offset);
    const auto there = mapped.subspan(offset, length);
    const auto differ = std::mismatch(there.begin(), there.end(), buffer.begin()).first;
    if (got == length && differ == there.end()) continue;
    throw base::Error(
        EILSEQ, "{}: what read(2) gives differs from what is mapped at offset {}", options.file,
        offset + std::min<std::size_t>(got, static_cast<std::size_t>(differ - there.begin())));
  }
  if (options.superblock) {
    require_sound(media::decode_superblock(mapped, UINT64_MAX), options.file);
  }
  // The log is the whole file, so its length is the file's.
  if (options.log) require_sound(media::decode_log_header(mapped, size), options.file);
  fmt::print("{}: {} bytes, read and mapped alike\n", options.file, size);
  return kExitOk;
}

}  // namespace

Command chkread_command() {
  return make_command<Options>("chkread", "compare what read(2) gives with what is mapped", declare,
                               work);
}

}  // namespace famfs::cli
