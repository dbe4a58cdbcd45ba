// SPDX-License-Identifier: Apache-2.0
//
// A FUSE server and its user in one program: exercises the kernel's mapping methods on real DAX
// devices, with right maps and with wrong ones.
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "mapsrv/bus_error.h"
#include "mapsrv/check.h"
#include "mapsrv/groups.h"

namespace {

using mapsrv::Method;
using mapsrv::Session;

constexpr int kExitFailed = 1;
constexpr int kExitUsage = 2;
constexpr int kExitNotOffered = 77;

struct Group {
  const char* name;
  const char* methods;
  void (*run)(Session&);
};

constexpr Group kGroups[] = {
    {"access", "ae", mapsrv::check_access},
    {"pmd", "ae", mapsrv::check_pmd},
    {"copy-to-itself", "ae", mapsrv::check_copy_to_itself},
    {"ends", "ae", mapsrv::check_ends},
    {"sharing", "ae", mapsrv::check_sharing},
    {"exec", "ae", mapsrv::check_exec},
    {"interleave", "ae", mapsrv::check_interleave},
    {"many", "ae", mapsrv::check_many},
    {"wrong-maps", "a", mapsrv::check_wrong_fmaps},
    {"large-map", "a", mapsrv::check_large_fmap},
    {"registration", "a", mapsrv::check_registration},
    {"withdrawn-early", "a", mapsrv::check_withdrawn_early},
    {"wrong-maps", "e", mapsrv::check_wrong_backing_maps},
    {"wrong-use", "e", mapsrv::check_backing_use},
    {"backing-ids", "e", mapsrv::check_backing_ids},
    {"withdraw", "ae", mapsrv::check_withdraw},
    {"changed-size", "ae", mapsrv::check_changed_size},
    {"sync", "ae", mapsrv::check_sync},
    {"disconnect", "ae", mapsrv::check_disconnect},
    {"no-rawio", "ae", mapsrv::check_no_rawio},
    {"failure", "ae", mapsrv::check_failure},
    {"unbind", "ae", mapsrv::check_unbind},
};

int usage() {
  std::fprintf(stderr,
               "usage: mapsrv METHOD GROUP DEVICE [DEVICE2]\n"
               "       mapsrv METHOD list\n"
               "\n"
               "METHOD is a (file maps) or e (backing maps), the devices are bound to fsdev_dax.\n"
               "The first GiB of each is overwritten; `unbind` and `failure` bind the first anew.\n"
               "\n"
               "Exit status: 0 all checks passed, 1 not, 2 usage, 77 the kernel does not offer the "
               "method.\n");
  return kExitUsage;
}

int run(const Group& group, Method method, const std::vector<std::string>& devices) {
  try {
    Session session(method, devices);
    if (!session.offered()) {
      std::printf("the kernel does not offer method %c to this process\n",
                  static_cast<char>(method));
      return kExitNotOffered;
    }
    group.run(session);
  } catch (const mapsrv::CannotGoOn& error) {
    mapsrv::check(false, error.what(), "main.cpp", __LINE__, "the group ends here");
  }
  std::printf("mapsrv %c %s: %d passed, %d failed\n", static_cast<char>(method), group.name,
              mapsrv::checks_passed(), mapsrv::checks_failed());
  return mapsrv::checks_failed() == 0 ? 0 : kExitFailed;
}

}  // namespace

int main(int argc, char** argv) {
  // A line appears when it is said: the kernel may end this process.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc < 3 || std::strlen(argv[1]) != 1 || std::strchr("ae", argv[1][0]) == nullptr)
    return usage();
  const std::string wanted = argv[2];
  if (wanted == "list") {
    for (const Group& group : kGroups) {
      if (std::strchr(group.methods, argv[1][0]) != nullptr) std::printf("%s\n", group.name);
    }
    return 0;
  }
  if (argc < 4) return usage();
  mapsrv::catch_bus_errors();
  for (const Group& group : kGroups) {
    if (wanted == group.name && std::strchr(group.methods, argv[1][0]) != nullptr)
      return run(group, static_cast<Method>(argv[1][0]), {argv + 3, argv + argc});
  }
  return usage();
}
