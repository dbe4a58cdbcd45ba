// SPDX-License-Identifier: Apache-2.0
// Files and mappings that close themselves.
#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>

namespace noncoherent {

class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor();

  int get() const { return number_; }
  explicit operator bool() const { return number_ >= 0; }

 private:
  int number_ = -1;
};

// A file, opened read-write. Throws std::system_error that names it, as do all functions here.
Descriptor open_file(const std::string& path);

// A file of which all is mapped, shared.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  int descriptor() const { return file_.get(); }
  std::span<std::byte> bytes() const { return bytes_; }

 private:
  Descriptor file_;
  std::span<std::byte> bytes_;
};

// What a file holds from its start; zeroes are a T too. Throws std::invalid_argument, which calls
// it `what`, if it is shorter.
template <typename T>
T& object_in(const MappedFile& file, const char* what) {
  if (file.bytes().size() < sizeof(T)) {
    throw std::invalid_argument(std::string(what) + ": " + std::to_string(file.bytes().size()) +
                                " bytes, of " + std::to_string(sizeof(T)) + " or more");
  }
  return *reinterpret_cast<T*>(file.bytes().data());
}

// Throws std::system_error from errno.
[[noreturn]] void fail(const std::string& what);

}  // namespace noncoherent
