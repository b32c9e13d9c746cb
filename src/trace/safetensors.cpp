#include "trace/safetensors.h"

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace assay::trace {

Status write_safetensors(const std::string& path, std::span<const SafeTensor> tensors,
                         const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header;
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const SafeTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes.size()}}};
    offset += tensor.bytes.size();
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  uint8_t length[8];
  for (int i = 0; i < 8; ++i) length[i] = uint8_t(uint64_t(text.size()) >> (8 * i));
  const std::string part = path + ".part";
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(length), 8);
  file.write(text.data(), std::streamsize(text.size()));
  for (const SafeTensor& tensor : tensors)
    file.write(reinterpret_cast<const char*>(tensor.bytes.data()),
               std::streamsize(tensor.bytes.size()));
  file.close();
  if (!file || std::rename(part.c_str(), path.c_str()) != 0) {
    std::remove(part.c_str());
    return Error{"cannot write '" + path + "'"};
  }
  return ok();
}

}  // namespace assay::trace
