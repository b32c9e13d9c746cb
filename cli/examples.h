// What the help and the man page show of each command's use.
#pragma once

#include <string>
#include <string_view>
#include <vector>

/// The examples of "assay run" and the like: lines that can be typed.
std::vector<std::string> examples_of(std::string_view path);
