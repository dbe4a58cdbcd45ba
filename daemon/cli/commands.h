// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "cli/command.h"

namespace famfs::cli {

// The subcommands of `famfs`, each in a file of its own (cmd_NAME.cpp).
Command mount_command();
Command umount_command();
// How mount(8) calls us; `arguments` without the program name.
int run_mount_helper(const std::vector<std::string>& arguments);
Command creat_command();
Command cp_command();
Command mkdir_command();
Command logplay_command();
Command fsck_command();
Command verify_command();
Command flush_command();
Command getmap_command();
Command check_command();
Command chkread_command();
Command clone_command();
Command devadd_command();

}  // namespace famfs::cli
