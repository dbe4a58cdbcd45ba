// SPDX-License-Identifier: Apache-2.0
// Stores, flushes and fences of all processors of a host at once on the same lines; see --help.
#include <fcntl.h>
#include <immintrin.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr const char* kHelp = R"(usage: torture DEVICE OFFSET PAGES [SECONDS SEED]

Each processor has a thread, and each thread a word of 8 bytes in every line of the memory: it
stores there, by bytes, words, locked instructions and around the cache, flushes lines that are others'
too, fences, and finds what it has stored last, whatever the others do. In the end all is written back.
Without SECONDS it invalidates all instead. Then it prints a sum of the bytes.

Exit status: 0 done, 1 a store was lost, 2 usage, 4 the memory cannot be mapped.
)";

constexpr uint64_t kPage = 4096, kLine = 64, kWords = kLine / sizeof(uint64_t), kHot = 8;

std::atomic<bool> failed{false};

uint64_t number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end == text.data() + text.size()) return value;
  std::fputs(kHelp, stderr);
  std::exit(2);
}

// One thread: word `own` of each line.
class Torturer {
 public:
  Torturer(std::byte* memory, uint64_t lines, unsigned own, uint64_t seed)
      : memory_(memory), own_(own), expected_(lines), random_(seed * kWords + own) {
    for (uint64_t line = 0; line < lines; ++line) expected_[line] = *word(line);
  }

  void run(std::chrono::steady_clock::time_point end) {
    while (std::chrono::steady_clock::now() < end && !failed) {
      for (int i = 0; i < 1000; ++i) step();
    }
    for (uint64_t line = 0; line < expected_.size(); ++line) check(line);
  }
  uint64_t steps() const { return steps_; }

 private:
  volatile uint64_t* word(uint64_t line) const {
    return reinterpret_cast<volatile uint64_t*>(memory_ + line * kLine) + own_;
  }

  void step() {
    ++steps_;
    const uint64_t chosen = random_();
    // Half of it on a few lines, so that processors meet there.
    const uint64_t among = (chosen >> 4 & 1) != 0 ? kHot : expected_.size();
    const uint64_t line = (chosen >> 8) % among;
    std::byte* const flushed = memory_ + (chosen >> 32) % among * kLine;
    switch (chosen & 15) {
      case 0:
        return _mm_clwb(flushed);
      case 1:
        return _mm_clflushopt(flushed);
      case 2:
        return _mm_clflush(flushed);
      case 3:
        return _mm_sfence();
      case 4:
        return _mm_mfence();
      case 5:
      case 6:
        return check(line);
      default:
        return store(line, chosen);
    }
  }

  void store(uint64_t line, uint64_t value) {
    check(line);
    uint64_t& expected = expected_[line];
    volatile uint64_t* const at = word(line);
    switch (value & 7) {
      case 0:
        reinterpret_cast<volatile uint8_t*>(at)[3] = static_cast<uint8_t>(value >> 40);
        reinterpret_cast<uint8_t*>(&expected)[3] = static_cast<uint8_t>(value >> 40);
        break;
      case 1:
        expected += value;
        __atomic_fetch_add(at, value, __ATOMIC_SEQ_CST);
        break;
      case 2:
        expected = value;
        _mm_stream_si64(reinterpret_cast<long long*>(const_cast<uint64_t*>(at)),
                        static_cast<long long>(value));
        break;
      default:
        expected = value;
        *at = value;
    }
  }

  void check(uint64_t line) {
    const uint64_t found = *word(line);
    if (found == expected_[line] || failed.exchange(true)) return;
    std::printf("word %u of line %llu: stored %016llx, found %016llx after %llu steps\n", own_,
                static_cast<unsigned long long>(line),
                static_cast<unsigned long long>(expected_[line]),
                static_cast<unsigned long long>(found), static_cast<unsigned long long>(steps_));
  }

  std::byte* const memory_;
  const unsigned own_;
  std::vector<uint64_t> expected_;
  std::mt19937_64 random_;
  uint64_t steps_ = 0;
};

// Of all threads together.
uint64_t torture(std::byte* memory, uint64_t lines, uint64_t seconds, uint64_t seed) {
  std::vector<Torturer> torturers;
  const unsigned threads = std::min<unsigned>(std::thread::hardware_concurrency(), kWords);
  for (unsigned own = 0; own < threads; ++own) torturers.emplace_back(memory, lines, own, seed);
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  {
    std::vector<std::jthread> running;
    for (Torturer& one : torturers) running.emplace_back([&one, end] { one.run(end); });
  }
  uint64_t steps = 0;
  for (const Torturer& one : torturers) steps += one.steps();
  return steps;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && (std::strcmp(argv[1], "--help") == 0 || std::strcmp(argv[1], "-h") == 0)) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (argc != 4 && argc != 6) {
    std::fputs(kHelp, stderr);
    return 2;
  }
  const uint64_t size = number(argv[3]) * kPage;
  const int file = open(argv[1], O_RDWR | O_CLOEXEC);
  void* const start = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file,
                           static_cast<off_t>(number(argv[2])));
  if (file < 0 || start == MAP_FAILED) {
    std::perror("torture: cannot map the memory");
    return 4;
  }
  auto* const memory = static_cast<std::byte*>(start);
  const bool checks = argc == 4;
  if (!checks) {
    const uint64_t steps = torture(memory, size / kLine, number(argv[4]), number(argv[5]));
    std::printf("%llu steps\n", static_cast<unsigned long long>(steps));
  }
  uint64_t sum = 0;
  for (uint64_t line = 0; line < size; line += kLine) {
    if (checks) {
      _mm_clflush(memory + line);
    } else {
      _mm_clwb(memory + line);
    }
  }
  _mm_mfence();
  for (uint64_t at = 0; at < size; at += sizeof(uint64_t)) {
    sum = (sum ^ *reinterpret_cast<volatile uint64_t*>(memory + at)) * 0x9e3779b97f4a7c15;
  }
  std::printf("sum %016llx\n", static_cast<unsigned long long>(sum));
  return failed ? 1 : 0;
}
