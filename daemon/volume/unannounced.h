// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "log/reader.h"
#include "media/log_header.h"
#include "volume/contents.h"

namespace famfs::volume {

// What is in the place of the next entry. None of it harms: the next append overwrites it.
enum class Remains {
  kNone,           // zeros, as mkfs leaves them
  kUnfinished,     // bytes of an entry that was not written completely
  kContradicting,  // a whole entry that does not fit what is announced: of an abandoned append
};

std::string_view to_string(Remains remains) noexcept;

// How the log goes on after the entries that its header announces.
struct Unannounced {
  uint64_t next = 0;  // index after the whole entries there that fit what is announced
  Remains remains = Remains::kNone;  // at `next`
};

// Adds the entries that an append stored and did not come to announce to `contents`, which must
// hold all that `header` announces. They were complete in memory, so they are as good as announced;
// whether the append's caller was told so is not known, as the format does not say it.
Unannounced take_unannounced(log::Reader& reader, const media::LogHeader& header,
                             Contents& contents);

}  // namespace famfs::volume
