// Writes what an engine computed as a trace (docs/trace-format.md). Copy write_trace into your
// engine. For a little-endian machine, as nearly all are.
//     c++ -std=c++17 trace_writer.cpp && ./a.out FILE
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

struct Tensor {
  std::string name;           // "embd", "blk.0.q", ...: the table in docs/trace-format.md
  std::vector<float> values;  // (rows, width), row by row
  size_t rows;                // a row for each token
};

/// One step's tensors, in execution order. `engine` and names are put into JSON as they are: no
/// quotes in them. Returns whether the file was written.
bool write_trace(const std::string& path, const std::string& engine, const std::vector<int>& tokens,
                 const std::vector<Tensor>& tensors) {
  std::string ids;
  for (const int token : tokens) ids += (ids.empty() ? "" : ",") + std::to_string(token);
  std::string header = R"({"__metadata__":{"format":"assay.trace/1","engine":")" + engine +
                       R"(","tokens":"[)" + ids + "]\"}";
  size_t offset = 0;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i];
    char number[24];
    std::snprintf(number, sizeof number, "%06zu", i);
    const size_t end = offset + 4 * tensor.values.size();
    header += ",\"" + std::string(number) + "." + tensor.name + R"(":{"dtype":"F32","shape":[)" +
              std::to_string(tensor.rows) + "," +
              std::to_string(tensor.values.size() / tensor.rows) + R"(],"data_offsets":[)" +
              std::to_string(offset) + "," + std::to_string(end) + "]}";
    offset = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t size = header.size();
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&size), 8) << header;
  for (const Tensor& tensor : tensors)
    file.write(reinterpret_cast<const char*>(tensor.values.data()),
               std::streamsize(4 * tensor.values.size()));
  file.close();
  return bool(file);
}

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const bool written = write_trace(
      arguments[1], "example 1.0", {504, 3575},
      {{"embd", {0.5f, -1, 2, 0, 1, 0.25f, -3, 8}, 2}, {"logits", {1, 2, 3, -1, 0, 1.5f}, 2}});
  return written ? 0 : 1;
}
