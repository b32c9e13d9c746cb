// What `--version` prints.
#pragma once

#include <string>

/// Version, contract, commit, and the devices of this machine with the reason where one is missing.
std::string version_text();
