#include "examples.h"

#include <algorithm>
#include <array>

namespace {

struct Examples {
  std::string_view command;
  std::array<const char*, 2> lines;
};

constexpr std::array table = {
    Examples{"assay", {"assay run -p \"The capital of France is\" -n 16", "assay chat model.gguf"}},
    Examples{"assay run",
             {"assay run -p \"The capital of France is\" -n 16 --temp 0",
              "assay run model.gguf --chat -f question.txt"}},
    Examples{"assay chat",
             {"assay chat", "assay chat model.gguf --system \"Answer briefly.\" --temp 0.2"}},
    Examples{"assay inspect",
             {"assay inspect model.gguf", "assay inspect model.gguf --weights --json"}},
    Examples{"assay tokenize",
             {"assay tokenize -p \"Hello, world\"", "assay tokenize model.gguf -f text.txt --ids"}},
    Examples{"assay convert",
             {"assay convert Qwen3-0.6B -o qwen3.gguf",
              "assay convert Qwen3-0.6B -o qwen3.gguf --type Q8_0"}},
    Examples{"assay logits",
             {"assay logits model.gguf -p \"Hello\" --top 10",
              "assay logits --tokens 1,2,3 -o logits.safetensors"}},
    Examples{"assay bench",
             {"assay bench model.gguf --prompt 512 --generation 128",
              "assay bench --peer llama.cpp/build/bin/llama-bench"}},
    Examples{
        "assay trace",
        {"assay trace record -p \"Hello\" -o a.safetensors", "assay trace show a.safetensors"}},
    Examples{"assay trace record",
             {"assay trace record -p \"Hello\" -o a.safetensors",
              "assay trace record m.gguf --tokens 1,2,3 --filter kqv -o a.safetensors"}},
    Examples{
        "assay trace show",
        {"assay trace show a.safetensors b.safetensors",
         "assay trace show --log debug.log --columns layer,rms,max -m model.gguf -p \"Hello\""}},
    Examples{"assay trace names",
             {"assay trace names mine.safetensors -m FOLDER -o names.yaml",
              "assay trace names mine.safetensors -m model.gguf --json"}},
    Examples{"assay trace replay",
             {"assay trace replay wrong.case", "assay trace replay wrong.case --device cuda"}},
    Examples{"assay diff",
             {"assay diff a.safetensors b.safetensors -m model.gguf",
              "assay diff a.safetensors b.safetensors --html report.html"}},
    Examples{"assay doctor",
             {"assay doctor model.gguf", "assay doctor model.gguf -p \"Hello\" --json"}},
    Examples{"assay invariants",
             {"assay invariants model.gguf --device cuda",
              "assay invariants model.gguf --engine http://localhost:8080"}},
    Examples{"assay check",
             {"assay check model.gguf blk.0.attn_q --input x.npy --output y.npy",
              "assay check --op swiglu --input g.npy --input u.npy --output y.npy"}},
    Examples{"assay kit", {"assay kit -o kernels", "assay kit model.gguf --layers 0 -o kernels"}},
    Examples{"assay verify",
             {"assay verify --device cuda", "assay verify model.gguf --level full -o proof.txt"}},
    Examples{"assay golden",
             {"assay golden update m.golden.json m.gguf -p \"Hello\"",
              "assay golden check m.golden.json m.gguf"}},
    Examples{"assay golden update",
             {"assay golden update m.golden.json m.gguf -p \"Hello\"",
              "assay golden update m.golden.json m.gguf --tokens 1,2,3"}},
    Examples{"assay golden check",
             {"assay golden check m.golden.json m.gguf", "assay golden check folder -t 1"}},
    Examples{"assay guide",
             {"assay guide --for-agents skills/assay", "assay guide --for-agents assay"}},
    Examples{"assay template",
             {"assay template model.gguf --messages messages.json",
              "assay template chat.jinja --messages m.json --tools t.json"}},
};

}  // namespace

std::vector<std::string> examples_of(std::string_view path) {
  const auto found = std::ranges::find(table, path, &Examples::command);
  if (found == table.end()) return {};
  return {found->lines.begin(), found->lines.end()};
}
