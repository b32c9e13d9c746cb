// The output of `assay verify`: table, JSON (assay.verify/1), certificate.
#pragma once

#include <optional>
#include <string>

#include "verify/verify.h"

namespace assay::verify {

/// What only the program knows.
struct Circumstances {
  std::string version, commit, date, cpu, system;
  uint32_t cores = 0;
  std::string model_path, model_sha256;  ///< "": no model
};

/// One line per kind and format, then how many of them have the stored bits, then the probes.
std::string table(const Report& report, const Stored& stored);
/// The fixed shape assay.verify/1.
std::string to_json(const Report& report, const Settings& settings, const Circumstances& around);
/// A page of text. Its last line is the SHA-256 of the lines above it.
std::string certificate(const Report& report, const Settings& settings,
                        const Circumstances& around);

/// "equal", "differ", or "unmeasured" where nothing was compared.
std::string_view bits_of(const Row& row);
/// "equal", "differ", or "none" where nothing is stored.
std::string_view stored_of(const Row& row);

}  // namespace assay::verify
