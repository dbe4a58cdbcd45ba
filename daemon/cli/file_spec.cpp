// SPDX-License-Identifier: Apache-2.0
#include "cli/file_spec.h"

#include <fmt/format.h>

#include <limits>
#include <optional>

#include "base/error.h"
#include "base/size_units.h"
#include "cli/command.h"
#include "cli/numbers.h"

namespace famfs::cli {
namespace {

constexpr std::uint64_t kMaxSeed = std::numeric_limits<std::uint32_t>::max();

struct Split {
  std::string_view front;
  std::string_view last;
};

std::optional<Split> split_last(std::string_view text) {
  const std::size_t comma = text.rfind(',');
  if (comma == std::string_view::npos || comma == 0 || comma + 1 == text.size()) {
    return std::nullopt;
  }
  return Split{text.substr(0, comma), text.substr(comma + 1)};
}

std::optional<std::uint64_t> size_of(std::string_view text) {
  try {
    return base::parse_size(text);
  } catch (const base::Error&) {
    return std::nullopt;
  }
}

}  // namespace

FileSpec parse_create_spec(std::string_view text) {
  if (const auto outer = split_last(text)) {
    // NAME,SIZE,SEED when the two last fields are numbers, else NAME,SIZE.
    if (const auto inner = split_last(outer->front)) {
      const auto size = size_of(inner->last);
      const auto seed = parse_number(outer->last, kMaxSeed);
      if (size && seed) {
        return {std::string(inner->front), *size, static_cast<std::uint32_t>(*seed), *seed != 0};
      }
    }
    if (const auto size = size_of(outer->last)) return {std::string(outer->front), *size, 0, false};
  }
  throw UsageError(
      fmt::format("--multi \"{}\": allowed is NAME,SIZE or NAME,SIZE,SEED with a seed from 0 to {}",
                  text, kMaxSeed));
}

FileSpec parse_verify_spec(std::string_view text) {
  if (const auto parts = split_last(text)) {
    if (const auto seed = parse_number(parts->last, kMaxSeed)) {
      return {std::string(parts->front), 0, static_cast<std::uint32_t>(*seed), false};
    }
  }
  throw UsageError(
      fmt::format("--multi \"{}\": allowed is NAME,SEED with a seed from 0 to {}", text, kMaxSeed));
}

}  // namespace famfs::cli
