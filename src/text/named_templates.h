// Chat templates that go by a name: some files hold "chatml" where a template should stand.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace assay::text {

/// The template in Jinja of the format that llama.cpp knows under this name; empty where assay does
/// not have it. It writes what llama.cpp writes for the roles system, user and assistant, and
/// refuses others where the format has a rule for each role.
std::optional<std::string> named_template(std::string_view name);

/// "chatml, command-r, …"
std::string template_names();

}  // namespace assay::text
