// SPDX-License-Identifier: Apache-2.0
#include "plugin/recorder.h"

#include <unistd.h>

#include <cerrno>

namespace noncoherent {

void Recorder::commit(const Commit& commit, DirtyLines& dirty) {
  const std::lock_guard lock(mutex_);
  std::vector<Record> records;
  uint64_t& seen = stores_[commit.device];
  if (const uint64_t stores = dirty.stores(); stores != seen) {
    seen = stores;
    records.push_back({Record::kSnapshot, commit.device, 0, 0, {}});
    dirty.each([&](uint64_t line, const Line& bytes, Mask which) {
      if (++records.front().line > Record::kMostDirty) return;
      records.push_back({Record::kDirty, commit.device, line, which, bytes});
    });
  }
  records.push_back({Record::kCommit, commit.device, commit.line, commit.which, commit.bytes});
  write(records);
}

void Recorder::write(const std::vector<Record>& records) const {
  const char* next = reinterpret_cast<const char*>(records.data());
  for (size_t left = records.size() * sizeof(Record); left != 0;) {
    const ssize_t done = ::write(file_.get(), next, left);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0) fail("the record of what reaches the devices");
    next += done;
    left -= static_cast<size_t>(done);
  }
}

}  // namespace noncoherent
