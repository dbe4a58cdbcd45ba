// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "media/layout.h"
#include "testing/cached_memory.h"

namespace famfs::testing {

// What may be on the medium while a host is at some step: of each line, any content that its cache
// has held since the line was last written back and fenced, as a cache evicts when it likes.
class PossibleLines {
 public:
  struct Version {
    Line content;
    bool torn = false;  // a part of a copy: half of it old
  };

  explicit PossibleLines(Medium& medium) : medium_(medium) {}

  void apply(const Step& step) {
    for (const auto& [at, content] : step.lines) {
      auto& versions = versions_[at];
      if (versions.empty()) versions.push_back({current(at)});
      if (step.kind == Step::Kind::kWriteBack) {
        written_back_[at] = versions.size() - 1;
      } else if (versions.back().content != content) {
        if (!step.atomic) add_halves(versions, content);
        versions.push_back({content});
      }
    }
    if (step.kind != Step::Kind::kFence) return;
    const auto complete = std::exchange(written_back_, {});
    for (const auto& [at, version] : complete) arrive(at, version);
  }

  // The n-th of what a line may be is on the medium: it cannot be an older one any more.
  void arrive(uint64_t at, size_t n) {
    auto& versions = versions_[at];
    versions.erase(versions.begin(), versions.begin() + static_cast<std::ptrdiff_t>(n));
    std::memcpy(medium_.line(at).data(), versions.front().content.data(), memory::kCacheLine);
    if (const auto written = written_back_.find(at); written != written_back_.end()) {
      written->second -= std::min(n, written->second);
    }
  }

  // The lines of which it is not certain what the medium holds, with what it may be, oldest first.
  std::map<uint64_t, std::vector<Version>> uncertain() const {
    std::map<uint64_t, std::vector<Version>> lines;
    for (const auto& [at, versions] : versions_) {
      if (versions.size() > 1) lines[at] = versions;
    }
    return lines;
  }

 private:
  Line current(uint64_t at) const {
    Line line;
    std::memcpy(line.data(), medium_.line(at).data(), line.size());
    return line;
  }
  // A copy need not store its words in order.
  static void add_halves(std::vector<Version>& versions, const Line& content) {
    const Line old = versions.back().content;
    Version front{content, true};
    std::memcpy(front.content.data() + 32, old.data() + 32, 32);
    Version back{content, true};
    std::memcpy(back.content.data(), old.data(), 32);
    for (const Version& half : {front, back}) {
      if (half.content != old && half.content != content) versions.push_back(half);
    }
  }

  Medium& medium_;
  std::map<uint64_t, std::vector<Version>> versions_;  // from the one that is certain
  std::map<uint64_t, size_t> written_back_;            // not fenced: which version
};

// Every medium that a host which dies at any of its steps may leave behind.
class CrashStates {
 public:
  using Inspect = std::function<void(Medium&)>;
  // Up to so many choices of lines are all tried; beyond, so many are drawn.
  static constexpr uint64_t kExhaustive = 2048;
  static constexpr unsigned kDrawn = 200;

  // `before`: the medium at the first of `steps`. Calls `inspect` once for each different medium;
  // returns how many there were.
  static uint64_t each(const Medium& before, const std::vector<Step>& steps,
                       const Inspect& inspect) {
    CrashStates states(before, inspect);
    states.inspect_choices();
    for (const Step& step : steps) {
      states.possible_.apply(step);
      states.inspect_choices();
    }
    return states.seen_.size();
  }

 private:
  using Lines = std::map<uint64_t, std::vector<PossibleLines::Version>>;

  CrashStates(const Medium& before, const Inspect& inspect)
      : certain_(before), possible_(certain_), inspect_(inspect) {}

  void inspect_choices() {
    const Lines lines = possible_.uncertain();
    uint64_t choices = 1;
    for (const auto& [at, versions] : lines) {
      choices = std::min(kExhaustive + 1, choices * whole(versions).size());
    }
    if (choices <= kExhaustive) every_choice(lines);
    entry_choices(lines);
    for (unsigned i = 0; i < kDrawn && !lines.empty(); ++i) drawn_choice(lines, i);
  }

  static std::vector<PossibleLines::Version> whole(
      const std::vector<PossibleLines::Version>& versions) {
    std::vector<PossibleLines::Version> found;
    for (const auto& version : versions) {
      if (!version.torn) found.push_back(version);
    }
    return found;
  }

  // Counts through the choices as through the digits of a number.
  void every_choice(const Lines& lines) {
    std::map<uint64_t, size_t> digits;
    for (const auto& [at, versions] : lines) digits[at] = 0;
    for (bool more = true; more;) {
      leave(lines, [&](uint64_t at, const auto& versions) { return whole(versions)[digits[at]]; });
      more = false;
      for (auto& [at, digit] : digits) {
        more = ++digit < whole(lines.at(at)).size();
        if (more) break;
        digit = 0;
      }
    }
  }

  // Some log entries arrive whole and the others not at all, which drawing would never meet.
  void entry_choices(const Lines& lines) {
    constexpr unsigned kEntries = 6;
    for (unsigned arrived = 0; arrived < 1U << kEntries && !lines.empty(); ++arrived) {
      leave(lines, [&](uint64_t at, const auto& versions) {
        for (unsigned index = 0; index < kEntries; ++index) {
          const bool holds_it = at + memory::kCacheLine > media::log_entry_offset(index) &&
                                at < media::log_entry_offset(index + 1);
          if (holds_it && (arrived >> index & 1) != 0) return versions.back();
        }
        return versions.front();
      });
    }
  }

  void drawn_choice(const Lines& lines, unsigned i) {
    // Few, half, most, or almost all of the lines arrive.
    static constexpr double kChances[] = {0.1, 0.5, 0.8, 0.95};
    std::bernoulli_distribution arrives(kChances[i % 4]);
    leave(lines, [&](uint64_t, const auto& versions) {
      if (!arrives(random_)) return versions.front();
      return versions[random_() % 2 == 0 ? versions.size() - 1 : random_() % versions.size()];
    });
  }

  template <typename Choose>
  void leave(const Lines& lines, Choose choose) {
    Medium medium = certain_;
    for (const auto& [at, versions] : lines) {
      const auto version = choose(at, versions);
      std::memcpy(medium.line(at).data(), version.content.data(), version.content.size());
    }
    if (seen_.emplace(medium.text()).second) inspect_(medium);
  }

  Medium certain_;
  PossibleLines possible_;
  const Inspect& inspect_;
  std::unordered_set<std::string> seen_;
  std::mt19937 random_{1};  // NOLINT(cert-msc*): the same choices every time
};

// The medium while a host goes through its steps, for others that read meanwhile.
class Eviction {
 public:
  Eviction(Medium& medium, const std::vector<Step>& steps, unsigned seed)
      : possible_(medium), steps_(steps), random_(seed) {}

  bool done() const { return at_ == steps_.size(); }

  // A few steps further, and any line that may arrive does or does not.
  void advance() {
    for (uint64_t count = random_() % 3; count > 0 && !done(); --count) {
      possible_.apply(steps_[at_++]);
      evict();
    }
  }

 private:
  void evict() {
    for (const auto& [at, versions] : possible_.uncertain()) {
      if (random_() % 4 == 0) possible_.arrive(at, random_() % versions.size());
    }
  }

  PossibleLines possible_;
  const std::vector<Step>& steps_;
  std::mt19937 random_;
  size_t at_ = 0;
};

}  // namespace famfs::testing
