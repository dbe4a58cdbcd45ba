// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "cli/commands.h"

namespace {

using namespace famfs::cli;

std::vector<Command> all_commands() {
  return {mount_command(),  umount_command(),  creat_command(),   cp_command(),    mkdir_command(),
          verify_command(), flush_command(),   logplay_command(), fsck_command(),  getmap_command(),
          check_command(),  chkread_command(), clone_command(),   devadd_command()};
}

std::string usage(const std::vector<Command>& commands) {
  std::string text =
      "Usage: famfs [-h] COMMAND [OPTIONS]\n\n"
      "famfs is a file system on memory that several hosts share. One host, the master, makes "
      "files\n"
      "(mkfs.famfs, famfs creat, famfs cp); all hosts mount it and read and write them in "
      "place.\n\n"
      "Commands:\n";
  for (const Command& command : commands) {
    text += fmt::format("  {:<9}{}\n", command.name, command.summary);
  }
  return text +
         "\n`famfs COMMAND -?` explains a command. Exit codes: 0 success, 1 usage, 3 unknown "
         "command,\n"
         "else the errno of what failed (`famfs fsck`: 4 damage found).\n";
}

const Command* find(const std::vector<Command>& commands, std::string_view name) {
  for (const Command& command : commands) {
    if (command.name == name) return &command;
  }
  return nullptr;
}

bool is_help(std::string_view argument) {
  return argument == "-h" || argument == "-?" || argument == "--help" || argument == "help";
}

int run(const std::vector<std::string>& arguments) {
  const std::vector<Command> commands = all_commands();
  if (arguments.empty()) {
    fmt::print(stderr, "famfs: a command is missing\n\n{}", usage(commands));
    return kExitUsage;
  }
  if (is_help(arguments.front())) {
    if (arguments.size() > 1) {
      if (const Command* command = find(commands, arguments[1])) return command->run({"-?"});
    }
    fmt::print("{}", usage(commands));
    return kExitOk;
  }
  if (arguments.front() == "--version" || arguments.front() == "-V") {
    fmt::print("famfs {}\n", FAMFS_VERSION);
    return kExitOk;
  }
  const Command* command = find(commands, arguments.front());
  if (command == nullptr) {
    fmt::print(stderr, "famfs: there is no command \"{}\"\n\n{}", arguments.front(),
               usage(commands));
    return kExitUnknownCommand;
  }
  return command->run({arguments.begin() + 1, arguments.end()});
}

// mount(8) looks for a program of that name, which is a link to this one.
bool called_as_helper(int argc, char** argv) {
  return argc > 0 && std::filesystem::path(argv[0]).filename() == "mount.famfs";
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + std::min(argc, 1), argv + argc);
  if (called_as_helper(argc, argv)) {
    return run_guarded("mount.famfs", [&] { return run_mount_helper(arguments); });
  }
  return run_guarded("famfs", [&] { return run(arguments); });
}
