// SPDX-License-Identifier: Apache-2.0
//
// The table of C callbacks: each calls its member of Filesystem and answers for what that throws.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <new>

#include "base/error.h"
#include "fuse/filesystem.h"

namespace famfs::fuse {
namespace {

Filesystem& filesystem(fuse_req_t request) {
  return *static_cast<Filesystem*>(fuse_req_userdata(request));
}

// Mistakes of applications are not for the log; trouble of ours or of the memory is.
void log_failure(const base::Error& error) {
  switch (error.code()) {
    case EIO:
    case EUCLEAN:
    case ENODEV:
    case ERANGE:
      spdlog::error("{}", error.what());
      break;
    default:
      spdlog::debug("{}", error.what());
  }
}

// Runs `act`, which replies or throws, and replies with an errno if it throws. The only place where
// exceptions end: libfuse is C.
template <typename Act>
void answer(fuse_req_t request, Act act) noexcept {
  int code = 0;
  try {
    try {
      act();
      return;
    } catch (const base::Error& error) {
      code = error.code();
      log_failure(error);
    } catch (const std::bad_alloc&) {
      code = ENOMEM;
      spdlog::error("out of memory");
    } catch (const std::exception& error) {
      code = EIO;
      spdlog::error("unexpected: {}", error.what());
    }
  } catch (...) {
    // Logging itself failed; the answer is still owed.
    if (code == 0) code = EIO;
  }
  fuse_reply_err(request, code);
}

template <auto Member>
struct Callback;

template <typename... Arguments, void (Filesystem::*Member)(fuse_req_t, Arguments...)>
struct Callback<Member> {
  static void call(fuse_req_t request, Arguments... arguments) noexcept {
    // A mount that was refused is asked things as well until it is undone.
    if (filesystem(request).method() == nullptr) {
      fuse_reply_err(request, EIO);
      return;
    }
    answer(request, [&] { (filesystem(request).*Member)(request, arguments...); });
  }
};

void init(void* user_data, fuse_conn_info* connection) noexcept {
  auto& filesystem = *static_cast<Filesystem*>(user_data);
  try {
    filesystem.init(*connection);
  } catch (const std::exception& error) {
    const base::Error failure(EIO, error.what());
    filesystem.negotiated(&failure);
  }
}

void forget(fuse_req_t request, fuse_ino_t /*node*/, std::uint64_t /*count*/) noexcept {
  fuse_reply_none(request);
}

void forget_multi(fuse_req_t request, std::size_t /*count*/,
                  fuse_forget_data* /*forgets*/) noexcept {
  fuse_reply_none(request);
}

void release(fuse_req_t request, fuse_ino_t /*node*/, fuse_file_info* /*file*/) noexcept {
  fuse_reply_err(request, 0);
}

void fsync_directory(fuse_req_t request, fuse_ino_t /*node*/, int /*data_only*/,
                     fuse_file_info* /*file*/) noexcept {
  // An entry is in the log, written back and fenced, before its creation is answered.
  fuse_reply_err(request, 0);
}

// The name is a parameter of the template, as a C callback has no room for it.
template <std::size_t Size>
struct Name {
  // NOLINTNEXTLINE(google-explicit-constructor): a literal must convert by itself
  constexpr Name(const char (&text)[Size]) { std::copy_n(text, Size, value); }
  char value[Size];
};

template <Name Text, int OnMaster, typename... Arguments>
void refused(fuse_req_t request, Arguments...) noexcept {
  answer(request, [&] { filesystem(request).refuse_names(Text.value, OnMaster); });
}

void fallocate(fuse_req_t request, fuse_ino_t /*node*/, int /*mode*/, off_t /*offset*/,
               off_t /*length*/, fuse_file_info* /*file*/) noexcept {
  // A file has all its space from the start, and keeps it.
  fuse_reply_err(request, EOPNOTSUPP);
}

fuse_lowlevel_ops make_operations() {
  fuse_lowlevel_ops table{};
  table.init = init;
  table.lookup = Callback<&Filesystem::lookup>::call;
  table.forget = forget;
  table.forget_multi = forget_multi;
  table.getattr = Callback<&Filesystem::getattr>::call;
  table.setattr = Callback<&Filesystem::setattr>::call;
  table.opendir = Callback<&Filesystem::opendir>::call;
  table.readdir = Callback<&Filesystem::readdir>::call;
  table.readdirplus = Callback<&Filesystem::readdirplus>::call;
  table.releasedir = release;
  table.fsyncdir = fsync_directory;
  table.open = Callback<&Filesystem::open>::call;
  table.read = Callback<&Filesystem::read>::call;
  table.write = Callback<&Filesystem::write>::call;
  table.flush = Callback<&Filesystem::flush>::call;
  table.fsync = Callback<&Filesystem::fsync>::call;
  table.release = release;
  table.statfs = Callback<&Filesystem::statfs>::call;
  table.getxattr = Callback<&Filesystem::getxattr>::call;
  table.listxattr = Callback<&Filesystem::listxattr>::call;
  table.mkdir = Callback<&Filesystem::mkdir>::call;
  table.ioctl = Callback<&Filesystem::ioctl>::call;

  table.setxattr = Callback<&Filesystem::setxattr>::call;
  table.removexattr = Callback<&Filesystem::removexattr>::call;
  table.fallocate = fallocate;

  // As the manual pages name it for a file system that has no such thing.
  table.create = refused<"create", EOPNOTSUPP>;
  table.mknod = refused<"mknod", EPERM>;
  table.unlink = refused<"unlink", EPERM>;
  table.rmdir = refused<"rmdir", EPERM>;
  table.rename = refused<"rename", EPERM>;
  table.symlink = refused<"symlink", EPERM>;
  table.link = refused<"link", EPERM>;
  // What is not here, libfuse answers with ENOSYS: the kernel then does it itself and asks no more
  // (README.md, "What each operation answers").
  return table;
}

}  // namespace

const fuse_lowlevel_ops& Filesystem::operations() {
  static const fuse_lowlevel_ops table = make_operations();
  return table;
}

}  // namespace famfs::fuse
