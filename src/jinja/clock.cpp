// strftime_now: the date in a format of C's strftime, a letter at a time so that only letters with
// a meaning reach the system.
#include "jinja/run.h"

namespace assay::jinja {

namespace {

std::tm clock_now() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  return local;
}

}  // namespace

std::string format_time(Run& run, const std::string& format) {
  static constexpr std::string_view letters = "aAbBcCdDeFgGhHIjklmMnprRStTuUVwWxXyY%";
  const std::tm time = run.now ? *run.now : clock_now();
  std::string out;
  for (uint64_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    const uint64_t start = i++;
    const bool flagged = format[i] == '-' || format[i] == '_' || format[i] == '0';
    if (flagged && i + 1 < format.size()) ++i;
    const char letter = format[i];
    if (letter == 'f') {
      out += "000000";
    } else if (letter == 'z' || letter == 'Z') {
      continue;  // Python's local time without a zone prints none
    } else if (letters.find(letter) == std::string_view::npos) {
      out += format.substr(start, i + 1 - start);
    } else {
      char buffer[200];
      const std::string one = format.substr(start, i + 1 - start);
      out.append(buffer, std::strftime(buffer, sizeof buffer, one.c_str(), &time));
    }
  }
  return out;
}

}  // namespace assay::jinja
