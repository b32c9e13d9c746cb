// The known name that a misspelt one stands for.
#pragma once

#include <string>
#include <string_view>
#include <vector>

/// The name of `known` that `name` was probably meant to be: with few characters wrong, missing, too
/// many or swapped, or the beginning of one. Empty where none is near.
std::string nearest(std::string_view name, const std::vector<std::string>& known);
