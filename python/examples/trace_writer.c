// Writes what an engine computed as a trace (docs/trace-format.md). Copy write_trace into your
// engine. For a little-endian machine, as nearly all are.
//     cc -std=c99 trace_writer.c && ./a.out FILE
#include <stdint.h>
#include <stdio.h>

struct tensor {
  const char* name;     // "embd", "blk.0.q", ...: the table in docs/trace-format.md
  const float* values;  // (rows, width), row by row
  int rows, width;      // a row for each token
};

// One step's tensors, in execution order. `engine` and names are put into JSON as they are: no
// quotes in them. Returns 0, or -1 where the file cannot be written.
int write_trace(const char* path, const char* engine, const int* tokens, int token_count,
                const struct tensor* tensors, int tensor_count) {
  FILE* file = fopen(path, "wb");
  if (!file) return -1;
  uint64_t header_size = 0, offset = 0;
  fwrite(&header_size, 8, 1, file);  // known later
  fprintf(file, "{\"__metadata__\":{\"format\":\"assay.trace/1\",\"engine\":\"%s\",\"tokens\":\"[",
          engine);
  for (int i = 0; i < token_count; ++i) fprintf(file, "%s%d", i ? "," : "", tokens[i]);
  fprintf(file, "]\"}");
  for (int i = 0; i < tensor_count; ++i) {
    const uint64_t end = offset + 4ull * tensors[i].rows * tensors[i].width;
    fprintf(file, ",\"%06d.%s\":{\"dtype\":\"F32\",\"shape\":[%d,%d],\"data_offsets\":[%llu,%llu]}",
            i, tensors[i].name, tensors[i].rows, tensors[i].width, (unsigned long long)offset,
            (unsigned long long)end);
    offset = end;
  }
  fputc('}', file);
  while (ftell(file) % 8) fputc(' ', file);
  header_size = ftell(file) - 8;
  for (int i = 0; i < tensor_count; ++i)
    fwrite(tensors[i].values, 4ull * tensors[i].width, tensors[i].rows, file);
  fseek(file, 0, SEEK_SET);
  fwrite(&header_size, 8, 1, file);
  const int failed = ferror(file);
  return fclose(file) || failed ? -1 : 0;
}

int main(int count, char** arguments) {
  if (count != 2) return 2;
  const int tokens[2] = {504, 3575};
  const float embd[2][4] = {{0.5f, -1, 2, 0}, {1, 0.25f, -3, 8}};
  const float logits[2][3] = {{1, 2, 3}, {-1, 0, 1.5f}};
  const struct tensor tensors[2] = {{"embd", embd[0], 2, 4}, {"logits", logits[0], 2, 3}};
  return write_trace(arguments[1], "example 1.0", tokens, 2, tensors, 2) ? 1 : 0;
}
