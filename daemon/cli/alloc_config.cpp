// SPDX-License-Identifier: Apache-2.0
#include "cli/alloc_config.h"

#include <fcntl.h>
#include <unistd.h>
#include <yaml-cpp/yaml.h>

#include <cerrno>
#include <optional>
#include <span>

#include "alloc/space.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "base/size_units.h"
#include "cli/file_io.h"
#include "cli/numbers.h"
#include "media/layout.h"
#include "media/path.h"

namespace famfs::cli {
namespace {

constexpr std::size_t kLargestText = 4096;
constexpr const char* kTop = "interleaved_alloc";

std::uint32_t number(const std::string& key, const YAML::Node& value, std::uint64_t maximum) {
  const auto parsed = value.IsScalar() ? parse_number(value.Scalar(), maximum) : std::nullopt;
  if (!parsed) {
    throw base::Error(EINVAL, "{} is \"{}\"; allowed: a number from 0 to {}", key,
                      value.IsScalar() ? media::printable(value.Scalar()) : "no number", maximum);
  }
  return static_cast<std::uint32_t>(*parsed);
}

Interleave parse(const YAML::Node& document) {
  Interleave interleave;
  if (!document || document.IsNull()) return interleave;
  if (!document.IsMap()) throw base::Error(EINVAL, "it is no mapping; allowed: {}: {{…}}", kTop);
  for (const auto& top : document) {
    if (!top.first.IsScalar() || top.first.Scalar() != kTop || !top.second.IsMap()) {
      throw base::Error(EINVAL, "\"{}\" is not known; allowed: {}, a mapping",
                        top.first.IsScalar() ? media::printable(top.first.Scalar()) : "a key",
                        kTop);
    }
    for (const auto& entry : top.second) {
      const std::string key = entry.first.IsScalar() ? entry.first.Scalar() : "";
      if (key == "nbuckets") {
        interleave.buckets = number(key, entry.second, alloc::kMaxBuckets);
      } else if (key == "nstrips") {
        interleave.strips = number(key, entry.second, media::kMaxStrips);
      } else if (key == "chunk_size" && entry.second.IsScalar()) {
        interleave.chunk_size = base::parse_size(entry.second.Scalar());
      } else {
        throw base::Error(EINVAL, "{}.{} is not known; allowed: nbuckets, nstrips, chunk_size",
                          kTop, media::printable(key));
      }
    }
  }
  return interleave;
}

}  // namespace

Interleave parse_alloc_config(std::string_view text) {
  text = text.substr(0, text.find('\0'));
  // The limit also bounds how deep the parser can get.
  if (text.size() > kLargestText) {
    throw base::Error(EINVAL, "it has more than {} bytes", kLargestText);
  }
  try {
    return parse(YAML::Load(std::string(text)));
  } catch (const YAML::Exception& error) {
    throw base::Error(EINVAL, "{}", error.what());
  }
}

Interleave load_alloc_config(const std::string& mount_point) {
  const std::string path = mount_point + "/" + kAllocConfig;
  const base::FileDescriptor fd(open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT || errno == ENOTDIR) return {};
    throw base::system_error("cannot read the defaults for new files, " + path);
  }
  try {
    regular_size(fd.get(), path);
    flush_file(fd.get(), path);  // another host may have written it
    std::string text(kLargestText + 1, '\0');
    text.resize(read_full(fd.get(), path, std::as_writable_bytes(std::span(text)), 0));
    return parse_alloc_config(text);
  } catch (const base::Error& error) {
    throw base::Error(error.code(), "the defaults for new files, {}: {} (--nstrips goes without)",
                      path, error.what());
  }
}

}  // namespace famfs::cli
