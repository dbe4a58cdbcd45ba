// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "mapbench/options.h"
#include "mapbench/result.h"

// A measurement each. They throw std::system_error.
namespace mapbench {

Result fill(const Options& options);
Result load_sequential(const Options& options);
Result store_sequential(const Options& options);
Result load_random(const Options& options);
Result store_random(const Options& options);

Result fault_read(const Options& options);
Result fault_write(const Options& options);

Result read_file(const Options& options);
Result write_file(const Options& options);

Result create_files(const Options& options);
Result stat_files(const Options& options);
Result list_directory(const Options& options);

Result count_messages(const Options& options);

}  // namespace mapbench
