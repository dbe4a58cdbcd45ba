// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "memory/shared_memory.h"

namespace famfs::pcq {

// A queue of one producer and one consumer, on hosts that share two files: buckets and the
// producer's counters in one, the consumer's counters in the other. Indices count modulo the number
// of buckets, of which one always stays free. Formats as the reference's pcq has them.
inline constexpr uint64_t kHeaderSize = 2ull << 20;  // of both files
inline constexpr uint64_t kTrailerSize = 16;         // of a bucket, after the payload: seq, CRC-32

struct Geometry {
  uint64_t bucket_size = 0;  // bytes, trailer included
  uint64_t buckets = 0;

  uint64_t payload() const noexcept { return bucket_size - kTrailerSize; }
  friend bool operator==(const Geometry&, const Geometry&) = default;
};

// Bytes of the producer's file. Throws base::Error(EINVAL) for a geometry that cannot be.
uint64_t producer_file_size(const Geometry& geometry);

// Writes both headers; the files have the sizes that they need.
void format(memory::SharedMemory& producer, memory::SharedMemory& consumer,
            const Geometry& geometry);

struct Counters {
  uint64_t producer_index = 0;
  uint64_t consumer_index = 0;
  uint64_t next_produced = 0;  // sequence number of the next message
  uint64_t next_consumed = 0;
};

// Common to both ends. Keeps the memories, of which an end writes only its own.
class Queue {
 public:
  // Throws base::Error(EUCLEAN) that names the field for files that are no queue.
  Queue(std::unique_ptr<memory::SharedMemory> producer,
        std::unique_ptr<memory::SharedMemory> consumer);

  const Geometry& geometry() const noexcept { return geometry_; }
  // As they are in memory now. Throws EUCLEAN for an index outside of the queue.
  Counters counters();

 protected:
  uint64_t bucket_offset(uint64_t index) const noexcept {
    return kHeaderSize + index * geometry_.bucket_size;
  }
  uint64_t read_index(memory::SharedMemory& memory, uint64_t offset, const char* name);
  // The message in a bucket if its checksum is right: sequence number.
  std::optional<uint64_t> read_bucket(uint64_t index, std::span<std::byte> payload);

  std::unique_ptr<memory::SharedMemory> producer_;
  std::unique_ptr<memory::SharedMemory> consumer_;
  Geometry geometry_;
};

class Producer : public Queue {
 public:
  Producer(std::unique_ptr<memory::SharedMemory> producer,
           std::unique_ptr<memory::SharedMemory> consumer);

  // Sequence number of the next message.
  uint64_t next() const noexcept { return next_; }
  // False if there is no free bucket. `payload` has geometry().payload() bytes.
  bool put(std::span<const std::byte> payload);

 private:
  uint64_t index_ = 0;
  uint64_t next_ = 0;
  std::vector<std::byte> bucket_;
};

class Consumer : public Queue {
 public:
  Consumer(std::unique_ptr<memory::SharedMemory> producer,
           std::unique_ptr<memory::SharedMemory> consumer);

  uint64_t next() const noexcept { return next_; }
  // False if there is no message. Throws EBADMSG for a wrong checksum, EILSEQ for a message that is
  // not the next one.
  bool get(std::span<std::byte> payload);

 private:
  bool fresh_ = true;  // nothing taken yet
  uint64_t index_ = 0;
  uint64_t next_ = 0;
};

}  // namespace famfs::pcq
