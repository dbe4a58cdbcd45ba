// SPDX-License-Identifier: Apache-2.0
#include "plugin/configuration.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <stdexcept>

#include "model/blame.h"

namespace noncoherent {

namespace {

unsigned host_number(const std::string& text) {
  unsigned number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || *end != '\0' || number >= Announcements::kHosts) {
    throw std::invalid_argument("host=" + text + " is no number from 0 to " +
                                std::to_string(Announcements::kHosts - 1));
  }
  return number;
}

}  // namespace

Configuration Configuration::parse(std::string_view text) {
  Configuration found;
  std::vector<std::string> caches, devices, lines, histories;
  for (std::string_view rest = text; !rest.empty();) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    const size_t equals = line.find('=');
    const std::string_view key = line.substr(0, equals);
    const std::string value(equals == line.npos ? "" : line.substr(equals + 1));
    if (value.empty()) {
      throw std::invalid_argument("'" + std::string(line) + "' is not KEY=VALUE");
    } else if (key == "policy") {
      found.policy = parse_policy(value);
    } else if (key == "windows") {
      found.windows = Windows::parse(value);
    } else if (key == "counters") {
      found.counters = value;
    } else if (key == "reason") {
      found.reason = value;
    } else if (key == "record") {
      found.record = value;
    } else if (key == "turnstile") {
      found.turnstile = value;
    } else if (key == "host") {
      found.host = host_number(value);
    } else if (key == "findings") {
      found.findings = value;
    } else if (key == "sites") {
      found.sites = value;
    } else if (key == "history") {
      histories.push_back(value);
    } else if (key == "cache") {
      caches.push_back(value);
    } else if (key == "device") {
      devices.push_back(value);
    } else if (key == "lines") {
      lines.push_back(value);
    } else {
      throw std::invalid_argument("key '" + std::string(key) + "' is not known");
    }
  }
  if (devices.empty() || caches.size() != devices.size() || lines.size() != devices.size()) {
    throw std::invalid_argument("each device needs cache=, device= and lines=");
  }
  const bool blames = !found.findings.empty();
  if (blames == found.sites.empty() || histories.size() != (blames ? devices.size() : 0)) {
    throw std::invalid_argument("findings= needs sites=, and history= of each device");
  }
  histories.resize(devices.size());
  for (size_t i = 0; i < devices.size(); ++i) {
    found.devices.push_back({caches[i], devices[i], lines[i], histories[i]});
  }
  for (const Window& window : found.windows.all()) {
    for (const unsigned device : window.devices) {
      if (device >= devices.size()) {
        throw std::invalid_argument("a window names device " + std::to_string(device) + " of " +
                                    std::to_string(devices.size()));
      }
    }
  }
  if (!found.record.empty() && !found.turnstile.empty()) {
    throw std::invalid_argument("record= and turnstile= exclude each other");
  }
  if (found.windows.all().empty() || found.counters.empty() || found.reason.empty()) {
    throw std::invalid_argument("windows=, counters= and reason= are needed");
  }
  return found;
}

Configuration Configuration::read(const std::string& path) {
  std::ifstream file(path);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  if (!file) throw std::invalid_argument(path + ": cannot be read");
  return parse(text);
}

}  // namespace noncoherent
