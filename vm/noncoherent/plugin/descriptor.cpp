// SPDX-License-Identifier: Apache-2.0
#include "plugin/descriptor.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

namespace noncoherent {

void fail(const std::string& what) {
  throw std::system_error(errno, std::generic_category(), what);
}

Descriptor::~Descriptor() {
  if (number_ >= 0) close(number_);
}

Descriptor open_file(const std::string& path) {
  Descriptor file(open(path.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file) fail(path);
  return file;
}

MappedFile::MappedFile(const std::string& path) : file_(open_file(path)) {
  struct stat status;
  if (fstat(file_.get(), &status) != 0) fail(path);
  const auto size = static_cast<size_t>(status.st_size);
  void* const start = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  if (start == MAP_FAILED) fail(path + ": mapping " + std::to_string(size) + " bytes");
  bytes_ = {static_cast<std::byte*>(start), size};
}

MappedFile::~MappedFile() { munmap(bytes_.data(), bytes_.size()); }

}  // namespace noncoherent
