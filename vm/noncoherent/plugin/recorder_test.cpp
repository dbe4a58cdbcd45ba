// SPDX-License-Identifier: Apache-2.0
#include "plugin/recorder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <vector>

#include "model/testing.h"

namespace noncoherent {
using testing::Device;
using testing::Host;

namespace {

TEST(Recorder, WritesCommitsAndWhatIsDirty) {
  const std::string path = ::testing::TempDir() + "/recorder." + std::to_string(getpid());
  std::ofstream(path).flush();
  Device device;
  {
    Recorder recorder(path);
    Host host{device, "strict", &recorder};
    for (const uint64_t line : {5, 6, 7}) host.store(line * kLineSize, line);
    host.clwb(5 * kLineSize);
    host.clwb(6 * kLineSize);
    host.sfence();
    host.store(8 * kLineSize, 8);
    host.clwb(7 * kLineSize);
    host.sfence();
  }
  std::vector<Record> records(20);
  std::ifstream file(path, std::ios::binary);
  file.read(reinterpret_cast<char*>(records.data()),
            static_cast<std::streamsize>(records.size() * sizeof(Record)));
  records.resize(static_cast<size_t>(file.gcount()) / sizeof(Record));
  unlink(path.c_str());

  std::string found;
  for (const Record& record : records) {
    found += std::to_string(record.kind) + ":" + std::to_string(record.line) + " ";
  }
  // The second commit is of the same fence, so nothing else has become dirty.
  EXPECT_EQ(found, "2:2 3:6 3:7 1:5 1:6 2:1 3:8 1:7 ");
  EXPECT_EQ(records[1].bytes[0], std::byte{6});
  EXPECT_EQ(records[3].which, kAll);
}

TEST(Recorder, NamesAFileThatIsNotThere) {
  EXPECT_THROW(Recorder("/nonexistent/file"), std::system_error);
}

}  // namespace
}  // namespace noncoherent
