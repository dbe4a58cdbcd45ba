// SPDX-License-Identifier: Apache-2.0
#include "plugin/user_faults.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace noncoherent {
namespace {

constexpr uint64_t kFeatures =
    UFFD_FEATURE_MISSING_SHMEM | UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM;

Descriptor open_userfaultfd(bool& of_kernel) {
  constexpr int kFlags = O_CLOEXEC | O_NONBLOCK;
  of_kernel = true;
  const Descriptor device(open("/dev/userfaultfd", O_RDWR | O_CLOEXEC));
  if (device) return Descriptor(ioctl(device.get(), USERFAULTFD_IOC_NEW, kFlags));
  Descriptor found(static_cast<int>(syscall(SYS_userfaultfd, kFlags)));
  if (found || errno != EPERM) return found;
  of_kernel = false;
  return Descriptor(static_cast<int>(syscall(SYS_userfaultfd, kFlags | UFFD_USER_MODE_ONLY)));
}

// sched_setattr(2). glibc before 2.41 lacks it, and the kernel's header does not go with glibc's.
struct SchedulingAttributes {
  uint32_t size;
  uint32_t policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime;  // nanoseconds
  uint64_t deadline;
  uint64_t period;
};
static_assert(sizeof(SchedulingAttributes) == 48, "the first version of struct sched_attr");

// A processor of the guest waits for this thread: it is to run at once, for a moment.
// Kernels before 6.12 know no such wish.
void ask_for_short_turns() {
  SchedulingAttributes attributes{};
  attributes.size = sizeof(attributes);
  attributes.runtime = 100'000;  // the shortest turn there is
  syscall(SYS_sched_setattr, 0, &attributes, 0);
}

uint64_t number(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

}  // namespace

UserFaults::UserFaults()
    : descriptor_(open_userfaultfd(of_kernel_)), stop_(eventfd(0, EFD_CLOEXEC)) {
  if (!descriptor_) fail("userfaultfd");
  if (!stop_) fail("eventfd");
  uffdio_api api{.api = UFFD_API, .features = kFeatures, .ioctls = 0};
  if (ioctl(descriptor_.get(), UFFDIO_API, &api) != 0) {
    fail("userfaultfd: this kernel lacks write protection of shared memory (Linux 5.19)");
  }
}

UserFaults::~UserFaults() { stop(); }

void UserFaults::stop() {
  if (!thread_.joinable()) return;
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

void UserFaults::watch(std::byte* start, size_t size, std::function<void(uint64_t page)> fill) {
  uffdio_register range{.range = {.start = number(start), .len = size},
                        .mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP,
                        .ioctls = 0};
  if (ioctl(descriptor_.get(), UFFDIO_REGISTER, &range) != 0) {
    fail("userfaultfd: watching " + std::to_string(size) + " bytes (is the file in a tmpfs?)");
  }
  ranges_.push_back({start, size, std::move(fill)});
}

void UserFaults::run(std::function<void(const std::string& reason)> died) {
  died_ = std::move(died);
  thread_ = std::thread([this] {
    ask_for_short_turns();
    try {
      answer();
    } catch (const std::exception& error) {
      died_(error.what());
    }
  });
}

void UserFaults::answer() {
  pollfd waiting[] = {{descriptor_.get(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  for (;;) {
    if (poll(waiting, 2, -1) < 0 && errno != EINTR) fail("poll");
    if (waiting[1].revents != 0) return;
    uffd_msg message;
    const ssize_t got = read(descriptor_.get(), &message, sizeof(message));
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got != sizeof(message)) fail("userfaultfd: reading");
    if (message.event != UFFD_EVENT_PAGEFAULT) continue;
    const uint64_t address = message.arg.pagefault.address;
    bool known = false;
    for (const Range& range : ranges_) {
      const uint64_t offset = address - number(range.start);
      if (address < number(range.start) || offset >= range.size) continue;
      range.fill(offset / kPageSize);
      known = true;
    }
    if (!known) throw std::runtime_error("userfaultfd: a fault outside of all devices");
  }
}

void GuestFrames::install(uint64_t page, const Page& bytes) {
  uffdio_copy copy{.dst = number(mapping_ + page * kPageSize),
                   .src = number(bytes.data()),
                   .len = kPageSize,
                   .mode = 0,
                   .copy = 0};
  while (ioctl(faults_.descriptor(), UFFDIO_COPY, &copy) != 0) {
    if (errno != EAGAIN) fail("userfaultfd: filling page " + std::to_string(page));
  }
}

void GuestFrames::protect(uint64_t page, bool on) {
  uffdio_writeprotect range{
      .range = {.start = number(mapping_ + page * kPageSize), .len = kPageSize},
      .mode = on ? uint64_t{UFFDIO_WRITEPROTECT_MODE_WP} : 0};
  while (ioctl(faults_.descriptor(), UFFDIO_WRITEPROTECT, &range) != 0) {
    if (errno != EAGAIN) fail("userfaultfd: protecting page " + std::to_string(page));
  }
}

void GuestFrames::hold(uint64_t page) { protect(page, true); }

void GuestFrames::release(uint64_t page) { protect(page, false); }

void GuestFrames::discard(uint64_t page) {
  if (fallocate(file_.descriptor(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                static_cast<off_t>(page * kPageSize), kPageSize) != 0) {
    fail("dropping page " + std::to_string(page));
  }
  wake(page);
}

void GuestFrames::wake(uint64_t page) {
  uffdio_range range{.start = number(mapping_ + page * kPageSize), .len = kPageSize};
  if (ioctl(faults_.descriptor(), UFFDIO_WAKE, &range) != 0) {
    fail("userfaultfd: waking page " + std::to_string(page));
  }
}

std::byte* find_mapping(const MappedFile& file) {
  struct stat status;
  if (fstat(file.descriptor(), &status) != 0) fail("the guest's memory");
  const uint64_t own = number(file.bytes().data());
  std::ifstream maps("/proc/self/maps");
  uint64_t first = 0, expected = 0;
  for (std::string line; std::getline(maps, line);) {
    std::istringstream words(line);
    uint64_t start, end, offset, inode;
    unsigned major, minor;
    char dash, colon;
    std::string access;
    words >> std::hex >> start >> dash >> end >> access >> offset >> major >> colon >> minor >>
        std::dec >> inode;
    if (inode != status.st_ino || major != ::major(status.st_dev) ||
        minor != ::minor(status.st_dev) || (start >= own && start < own + file.bytes().size())) {
      continue;
    }
    if (offset == 0) {
      first = start;
      expected = 0;
    }
    if (first == 0 || offset != expected || start != first + offset) continue;
    expected += end - start;
    if (expected == file.bytes().size()) return reinterpret_cast<std::byte*>(first);
  }
  throw std::runtime_error("QEMU has not mapped the guest's memory of a device, or not whole");
}

}  // namespace noncoherent
