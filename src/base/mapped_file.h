// A whole file as bytes, mapped rather than read.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace assay {

class MappedFile {
 public:
  /// Errors, beginning with the path: cannot open, a folder ("not a WHAT file"), not a regular file,
  /// empty.
  static Result<MappedFile> open(const std::string& path, std::string_view what);

  std::span<const uint8_t> bytes() const { return {address_.get(), address_.get_deleter().size}; }
  /// Tells the system that these bytes are not needed for now (they stay readable). A range of
  /// another file is left alone.
  void release(std::span<const uint8_t> range) const;

 private:
  struct Unmap {
    uint64_t size;
    void operator()(const uint8_t* address) const;
  };
  explicit MappedFile(std::unique_ptr<const uint8_t, Unmap> address)
      : address_(std::move(address)) {}
  std::unique_ptr<const uint8_t, Unmap> address_;
};

}  // namespace assay
