// SPDX-License-Identifier: Apache-2.0
// Runs one host's steps of a litmus program on shared memory; see litmus --help.
#include <fcntl.h>
#include <immintrin.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr const char* kHelp = R"(usage: litmus DEVICE OFFSET STEP...

Maps 2 MiB at OFFSET (a multiple of 2 MiB) of a dax device or file and does the steps one after the
other, with no system call in between. Then it prints what was loaded, in order, on one line.

A PLACE is LINE or LINE.WORD: a line of 64 bytes and one of its eight words, such as 0 or 64.3.

  store:PLACE=VALUE      a store                     nt:PLACE=VALUE     a non-temporal one
  load:PLACE             a load; its value is printed
  clwb:LINE  clflush:LINE  clflushopt:LINE           sfence  mfence  lfence  locked
  wait:PLACE=VALUE       invalidates and loads until it is there; ends with 3 after 20 s
  seen:PLACE=VALUE       loads until it is there, without invalidating; ends with 3 after 2 s
  remap                  maps the memory anew: nothing of it is in the page tables
  idle:MICROSECONDS      does nothing, without a system call

Exit status: 0 done, 2 usage, 3 a wait was in vain, 4 the memory cannot be mapped.
)";

constexpr size_t kSize = size_t{2} << 20;
constexpr size_t kLine = 64;

[[noreturn]] void usage(std::string_view step) {
  std::fprintf(stderr, "litmus: '%.*s' is no step; litmus --help lists them\n",
               static_cast<int>(step.size()), step.data());
  std::exit(2);
}

uint64_t number(std::string_view text, std::string_view step) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) usage(step);
  return value;
}

class Memory {
 public:
  Memory(const char* path, uint64_t offset)
      : file_(open(path, O_RDWR | O_CLOEXEC)), offset_(offset) {
    map();
  }
  ~Memory() {
    munmap(memory_, kSize);
    close(file_);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void remap() {
    munmap(memory_, kSize);
    map();
  }
  std::byte* at(uint64_t offset) const { return memory_ + offset; }

 private:
  void map() {
    void* const start = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_SHARED, file_,
                             static_cast<off_t>(offset_));
    if (file_ < 0 || start == MAP_FAILED) {
      std::fprintf(stderr, "litmus: cannot map the memory: %s\n", std::strerror(errno));
      std::exit(4);
    }
    memory_ = static_cast<std::byte*>(start);
  }

  int file_;
  uint64_t offset_;
  std::byte* memory_ = nullptr;
};

struct Place {
  uint64_t offset;
  uint64_t value;
};

// LINE[.WORD][=VALUE]
Place parse_place(std::string_view text, std::string_view step) {
  const size_t equals = text.find('=');
  const std::string_view place = text.substr(0, equals);
  const size_t dot = place.find('.');
  const uint64_t line = number(place.substr(0, dot), step);
  const uint64_t word = dot == place.npos ? 0 : number(place.substr(dot + 1), step);
  if (line >= kSize / kLine || word >= kLine / sizeof(uint64_t)) usage(step);
  const uint64_t value = equals == text.npos ? 0 : number(text.substr(equals + 1), step);
  return {line * kLine + word * sizeof(uint64_t), value};
}

volatile uint64_t* word(const Memory& memory, Place place) {
  return reinterpret_cast<volatile uint64_t*>(memory.at(place.offset));
}

void clflushopt(const Memory& memory, Place place) {
  asm volatile("clflushopt %0" : "+m"(*memory.at(place.offset))::"memory");
}

// Whether `reached` became true in time.
bool poll(std::chrono::seconds limit, const std::function<bool()>& reached) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (!reached()) {
    if (std::chrono::steady_clock::now() > end) return false;
  }
  return true;
}

using Step = std::function<bool(Memory&, std::vector<uint64_t>& loaded)>;

std::optional<Step> fence(std::string_view name) {
  if (name == "sfence") return [](Memory&, auto&) { return _mm_sfence(), true; };
  if (name == "mfence") return [](Memory&, auto&) { return _mm_mfence(), true; };
  if (name == "lfence") return [](Memory&, auto&) { return _mm_lfence(), true; };
  if (name == "locked") {
    return [](Memory&, auto&) {
      int own = 0;
      asm volatile("lock incl %0" : "+m"(own)::"memory");
      return true;
    };
  }
  if (name == "remap") return [](Memory& memory, auto&) { return memory.remap(), true; };
  return std::nullopt;
}

Step parse(std::string_view step) {
  const size_t colon = step.find(':');
  const std::string_view name = step.substr(0, colon);
  if (colon == step.npos) {
    if (const auto found = fence(name)) return *found;
    usage(step);
  }
  const std::string_view rest = step.substr(colon + 1);
  if (name == "idle") {
    return [time = std::chrono::microseconds(number(rest, step))](Memory&, auto&) {
      const auto end = std::chrono::steady_clock::now() + time;
      while (std::chrono::steady_clock::now() < end) _mm_pause();
      return true;
    };
  }
  const Place place = parse_place(rest, step);
  if (name == "store") {
    return [place](Memory& memory, auto&) { return *word(memory, place) = place.value, true; };
  }
  if (name == "nt") {
    return [place](Memory& memory, auto&) {
      _mm_stream_si64(reinterpret_cast<long long*>(memory.at(place.offset)),
                      static_cast<long long>(place.value));
      return true;
    };
  }
  if (name == "load") {
    return [place](Memory& memory, std::vector<uint64_t>& loaded) {
      return loaded.push_back(uint64_t{*word(memory, place)}), true;
    };
  }
  if (name == "clwb") {
    return [place](Memory& memory, auto&) {
      asm volatile("clwb %0" : "+m"(*memory.at(place.offset))::"memory");
      return true;
    };
  }
  if (name == "clflush") {
    return [place](Memory& memory, auto&) { return _mm_clflush(memory.at(place.offset)), true; };
  }
  if (name == "clflushopt") {
    return [place](Memory& memory, auto&) { return clflushopt(memory, place), true; };
  }
  if (name == "wait") {
    return [place](Memory& memory, auto&) {
      return poll(std::chrono::seconds(20), [&] {
        clflushopt(memory, place);
        _mm_mfence();
        return *word(memory, place) == place.value;
      });
    };
  }
  if (name == "seen") {
    return [place](Memory& memory, auto&) {
      return poll(std::chrono::seconds(2), [&] { return *word(memory, place) == place.value; });
    };
  }
  usage(step);
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string_view> words(argv + 1, argv + argc);
  if (!words.empty() && (words[0] == "-h" || words[0] == "--help")) {
    std::fputs(kHelp, stdout);
    return 0;
  }
  if (words.size() < 3) {
    std::fputs(kHelp, stderr);
    return 2;
  }
  const uint64_t offset = number(words[1], words[1]);
  if (offset % kSize != 0) usage(words[1]);
  std::vector<Step> steps;
  for (size_t i = 2; i < words.size(); ++i) steps.push_back(parse(words[i]));
  Memory memory(argv[1], offset);
  std::vector<uint64_t> loaded;
  loaded.reserve(steps.size());
  for (size_t i = 0; i < steps.size(); ++i) {
    if (steps[i](memory, loaded)) continue;
    std::fprintf(stderr, "litmus: %s was in vain\n", argv[3 + i]);
    return 3;
  }
  for (const uint64_t value : loaded) {
    std::printf("%llu ", static_cast<unsigned long long>(value));
  }
  std::puts("");
  return 0;
}
