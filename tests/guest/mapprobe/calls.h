// SPDX-License-Identifier: Apache-2.0
//
// Commands about system calls on files; all but the last two need no shared mapping.
#pragma once

#include "probe.h"

namespace probe {

void ends(const Arguments& arguments);
void refused(const Arguments& arguments);
void vectors(const Arguments& arguments);
void copies(const Arguments& arguments);
void bad_buffers(const Arguments& arguments);
void beyond(const Arguments& arguments);
void closed(const Arguments& arguments);

}  // namespace probe
