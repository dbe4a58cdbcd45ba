// SPDX-License-Identifier: Apache-2.0
#include "model/policy.h"

#include <charconv>
#include <stdexcept>

namespace noncoherent {
namespace {

constexpr uint64_t kMebi = uint64_t{1} << 20;
constexpr uint32_t kUsualEvictions = 64;

[[noreturn]] void refuse(std::string_view text, std::string_view word, std::string_view allowed) {
  throw std::invalid_argument("memory policy '" + std::string(text) + "': '" + std::string(word) +
                              "' is not known; it can be " + std::string(allowed));
}

uint64_t number(std::string_view text, std::string_view word, uint64_t low, uint64_t high) {
  const std::string_view digits = word.substr(word.find('=') + 1);
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc{} || end != digits.data() + digits.size() || value < low || value > high) {
    refuse(text, word, "a number from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

}  // namespace

Policy parse_policy(std::string_view text) {
  Policy policy;
  std::string_view rest = text;
  for (bool first = true; first || !rest.empty(); first = false) {
    const size_t comma = rest.find(',');
    const std::string_view word = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
    if (word == "strict") {
      policy.order = Policy::Order::strict;
    } else if (word == "lenient") {
      policy.order = Policy::Order::lenient;
    } else if (word == "evict") {
      policy.evictions = kUsualEvictions;
    } else if (word.starts_with("evict=")) {
      policy.evictions = static_cast<uint32_t>(number(text, word, 0, 1024));
    } else if (word == "shuffle") {
      policy.shuffle = true;
    } else if (word.starts_with("seed=")) {
      policy.seed = number(text, word, 0, UINT64_MAX);
    } else if (word.starts_with("capacity=")) {
      policy.capacity = number(text, word, 1, 1 << 20) * kMebi;
    } else {
      refuse(text, word, "strict, lenient, seed=N, evict[=N], shuffle, capacity=MEBIBYTES");
    }
  }
  return policy;
}

std::string describe(const Policy& policy) {
  return std::string(policy.strict() ? "strict" : "lenient") +
         ",evict=" + std::to_string(policy.evictions) + (policy.shuffle ? ",shuffle" : "") +
         ",seed=" + std::to_string(policy.seed) +
         ",capacity=" + std::to_string(policy.capacity / kMebi);
}

}  // namespace noncoherent
