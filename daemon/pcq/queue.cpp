// SPDX-License-Identifier: Apache-2.0
#include "pcq/queue.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/crc32.h"
#include "base/error.h"

namespace famfs::pcq {
namespace {

constexpr uint64_t kProducerMagic = 0xbeebee3;
constexpr uint32_t kConsumerMagic = 0xbeebee4;

// Of the producer's header.
constexpr uint64_t kBuckets = 8;
constexpr uint64_t kBucketSize = 16;
constexpr uint64_t kArrayOffset = 24;
constexpr uint64_t kProducerIndex = 32;
constexpr uint64_t kPad = 1024;
constexpr uint64_t kNextProduced = 40 + kPad;
constexpr uint64_t kProducerSize = kNextProduced + 8;

// Of the consumer's.
constexpr uint64_t kConsumerIndex = 8;
constexpr uint64_t kConsumerPad = 1ull << 20;
constexpr uint64_t kNextConsumed = 16 + kConsumerPad;
constexpr uint64_t kConsumerSize = kNextConsumed + 8;

constexpr uint64_t kFewestBuckets = 2;

uint64_t word(memory::SharedMemory& memory, uint64_t offset) {
  return base::load<uint64_t>(memory.acquire(offset, 8), 0);
}

void put_word(memory::SharedMemory& memory, uint64_t offset, uint64_t value) {
  memory.store_word(offset, value);
  memory.publish(offset, 8);
}

void require(const memory::SharedMemory& memory, const char* field, uint64_t found,
             uint64_t allowed) {
  if (found == allowed) return;
  throw base::Error(EUCLEAN, "{} is no queue: {} is {:#x}; allowed: {:#x}", memory.name(), field,
                    found, allowed);
}

}  // namespace

uint64_t producer_file_size(const Geometry& geometry) {
  if (geometry.bucket_size <= kTrailerSize || geometry.bucket_size % 8 != 0) {
    throw base::Error(EINVAL, "bucket size is {}; allowed: a multiple of 8 above {}",
                      geometry.bucket_size, kTrailerSize);
  }
  if (geometry.buckets < kFewestBuckets) {
    throw base::Error(EINVAL, "number of buckets is {}; allowed: {} or more", geometry.buckets,
                      kFewestBuckets);
  }
  const auto buckets = base::checked_multiply(geometry.bucket_size, geometry.buckets);
  const auto size = buckets ? base::checked_add(kHeaderSize, *buckets) : std::nullopt;
  if (!size) {
    throw base::Error(EINVAL, "{} buckets of {} bytes are too large", geometry.buckets,
                      geometry.bucket_size);
  }
  return *size;
}

void format(memory::SharedMemory& producer, memory::SharedMemory& consumer,
            const Geometry& geometry) {
  const uint64_t size = producer_file_size(geometry);
  producer.store_zeros(0, kHeaderSize);
  producer.store_word(kBuckets, geometry.buckets);
  producer.store_word(kBucketSize, geometry.bucket_size);
  producer.store_word(kArrayOffset, kHeaderSize);
  producer.store_word(kProducerSize, size);
  consumer.store_zeros(0, kHeaderSize);
  consumer.store_word(kConsumerSize, kHeaderSize);
  producer.publish(0, kHeaderSize);
  consumer.publish(0, kHeaderSize);
  // Last: whoever sees them sees the rest.
  put_word(producer, 0, kProducerMagic);
  put_word(consumer, 0, kConsumerMagic);
}

Queue::Queue(std::unique_ptr<memory::SharedMemory> producer,
             std::unique_ptr<memory::SharedMemory> consumer)
    : producer_(std::move(producer)), consumer_(std::move(consumer)) {
  if (producer_->size() < kHeaderSize || consumer_->size() < kHeaderSize) {
    throw base::Error(EUCLEAN, "{} is no queue: a file has less than {} bytes", producer_->name(),
                      kHeaderSize);
  }
  require(*producer_, "magic", word(*producer_, 0), kProducerMagic);
  require(*consumer_, "magic", word(*consumer_, 0) & 0xffffffff, kConsumerMagic);
  require(*producer_, "bucket_array_offset", word(*producer_, kArrayOffset), kHeaderSize);
  geometry_ = {word(*producer_, kBucketSize), word(*producer_, kBuckets)};
  if (producer_file_size(geometry_) > producer_->size()) {
    throw base::Error(EUCLEAN, "{} is no queue: {} buckets of {} bytes do not fit in its {} bytes",
                      producer_->name(), geometry_.buckets, geometry_.bucket_size,
                      producer_->size());
  }
}

uint64_t Queue::read_index(memory::SharedMemory& memory, uint64_t offset, const char* name) {
  const uint64_t index = word(memory, offset);
  if (index < geometry_.buckets) return index;
  throw base::Error(EUCLEAN, "{}: {} is {}; allowed: 0 to {}", memory.name(), name, index,
                    geometry_.buckets - 1);
}

Counters Queue::counters() {
  return {read_index(*producer_, kProducerIndex, "producer_index"),
          read_index(*consumer_, kConsumerIndex, "consumer_index"), word(*producer_, kNextProduced),
          word(*consumer_, kNextConsumed)};
}

std::optional<uint64_t> Queue::read_bucket(uint64_t index, std::span<std::byte> payload) {
  const auto bucket = producer_->acquire(bucket_offset(index), geometry_.bucket_size);
  // The checksum is of the copy: the bytes may change under a look at them.
  std::vector<std::byte> copy(bucket.begin(), bucket.end());
  const uint64_t seq = base::load<uint64_t>(copy, geometry_.payload());
  const uint64_t crc = base::load<uint64_t>(copy, geometry_.payload() + 8);
  if (crc != base::crc32(std::span(copy).first(geometry_.payload() + 8))) return std::nullopt;
  std::copy_n(copy.begin(), payload.size(), payload.begin());
  return seq;
}

Producer::Producer(std::unique_ptr<memory::SharedMemory> producer,
                   std::unique_ptr<memory::SharedMemory> consumer)
    : Queue(std::move(producer), std::move(consumer)), bucket_(geometry_.bucket_size) {
  const Counters now = counters();
  index_ = now.producer_index;
  next_ = now.next_produced;
  // The index is announced before the counter; a producer may have died in between.
  const uint64_t last = (index_ + geometry_.buckets - 1) % geometry_.buckets;
  const auto seq = read_bucket(last, {});
  if (seq && *seq == next_) ++next_;
}

bool Producer::put(std::span<const std::byte> payload) {
  const uint64_t after = (index_ + 1) % geometry_.buckets;
  if (after == read_index(*consumer_, kConsumerIndex, "consumer_index")) return false;
  std::copy(payload.begin(), payload.end(), bucket_.begin());
  base::store<uint64_t>(bucket_, geometry_.payload(), next_);
  base::store<uint64_t>(bucket_, geometry_.payload() + 8,
                        base::crc32(std::span(bucket_).first(geometry_.payload() + 8)));
  producer_->store(bucket_offset(index_), bucket_);
  producer_->publish(bucket_offset(index_), geometry_.bucket_size);
  index_ = after;
  put_word(*producer_, kProducerIndex, index_);
  put_word(*producer_, kNextProduced, ++next_);
  return true;
}

Consumer::Consumer(std::unique_ptr<memory::SharedMemory> producer,
                   std::unique_ptr<memory::SharedMemory> consumer)
    : Queue(std::move(producer), std::move(consumer)) {
  const Counters now = counters();
  index_ = now.consumer_index;
  next_ = now.next_consumed;
}

bool Consumer::get(std::span<std::byte> payload) {
  if (index_ == read_index(*producer_, kProducerIndex, "producer_index")) return false;
  const auto seq = read_bucket(index_, payload);
  if (!seq) {
    throw base::Error(EBADMSG, "{}: bucket {} (message {}) has a wrong checksum", producer_->name(),
                      index_, next_);
  }
  // A consumer may have died between its two counters: it has had the message then.
  if (fresh_ && *seq == next_ + 1) ++next_;
  fresh_ = false;
  if (*seq != next_) {
    throw base::Error(EILSEQ, "{}: bucket {} holds message {}, expected {}", producer_->name(),
                      index_, *seq, next_);
  }
  index_ = (index_ + 1) % geometry_.buckets;
  // The bucket may be filled again from here on.
  put_word(*consumer_, kConsumerIndex, index_);
  put_word(*consumer_, kNextConsumed, ++next_);
  return true;
}

}  // namespace famfs::pcq
