#include "llama_options.h"

#include <algorithm>
#include <array>

namespace {

constexpr auto nothing = LlamaOption::Takes::nothing;
constexpr auto value = LlamaOption::Takes::value;
constexpr auto perhaps = LlamaOption::Takes::perhaps;

constexpr std::string_view not_downloaded =
    "is not there yet: assay does not download models; download the GGUF file and give its path, "
    "as in 'assay run model.gguf'";
constexpr std::string_view one_device =
    "divides a model among devices; assay runs a whole model on one: use --device cuda, or "
    "--device cuda:1 for the second GPU";
constexpr std::string_view no_sampler =
    "is a sampler that assay does not have; it has --temp, --top-k, --top-p, --min-p and the "
    "penalties";
constexpr std::string_view no_pinning =
    "places threads; assay leaves that to the system: use taskset or numactl, and -t for the "
    "number of threads";
constexpr std::string_view file_says =
    "changes what the model file says; assay reads every number from the file (see 'assay "
    "inspect')";
constexpr std::string_view no_draft = "is for a draft model; assay has no speculative decoding yet";
constexpr std::string_view no_images = "is for images and sound; assay reads text only";
constexpr std::string_view no_grammar =
    "restricts the output; assay cannot do that yet (--stop ends it at a text)";
constexpr std::string_view no_adapter =
    "changes the weights at load; assay cannot do that yet: merge the adapter into the GGUF file";
constexpr std::string_view no_server = "is for llama.cpp's server; assay has no server yet";
constexpr std::string_view no_reasoning =
    "has no equivalent: assay shows what the chat template and the model make of the "
    "conversation";
constexpr std::string_view template_says =
    "has no equivalent: the model's chat template says what stands around a message";

constexpr std::array options = {
    // The same under another name.
    LlamaOption{"--n-predict --max-tokens --max-new-tokens", value, "*", "--predict", "", ""},
    LlamaOption{"--temperature", value, "*", "--temp", "", ""},
    LlamaOption{"-sys --system-prompt", value, "*", "--system", "", ""},
    LlamaOption{"--batch-size", value, "*", "--batch", "", ""},
    LlamaOption{"--ctx --context --n-ctx", value, "*", "--ctx-size", "", ""},
    LlamaOption{"--n-threads", value, "*", "--threads", "", ""},
    LlamaOption{"-st --single-turn", nothing, "*", "--chat", "", ""},
    LlamaOption{"-sp", nothing, "*", "--special", "", ""},
    LlamaOption{"--log-verbose", nothing, "*", "--verbose", "", ""},
    LlamaOption{"--chat-template-file", value, "*", "--chat-template", "", ""},
    LlamaOption{"--usage", nothing, "*", "--help", "", ""},

    // The device.
    LlamaOption{"-ngl --gpu-layers --n-gpu-layers", value, "", "", "",
                "is llama.cpp's number of layers on the GPU; assay runs a whole model on one "
                "device: use --device cuda (or metal), or --device cpu for 0 layers"},
    LlamaOption{"-fa --flash-attn --flash", perhaps, "on auto 1 true enabled", "", "",
                "switches llama.cpp's flash attention; assay's attention has one form, which never "
                "holds all scores at once, on every device: leave it out"},
    LlamaOption{"-ctk --cache-type-k", value, "f16", "--kv=f16", "",
                "is llama.cpp's type of cached keys; assay stores keys and values in one type: use "
                "--kv f16 (the default) or --kv f32; quantised types are not there yet"},
    LlamaOption{"-ctv --cache-type-v", value, "f16", "--kv=f16", "",
                "is llama.cpp's type of cached values; assay stores keys and values in one type: "
                "use --kv f16 (the default) or --kv f32; quantised types are not there yet"},
    LlamaOption{"-dev", value, "", "", "",
                "is llama.cpp's list of devices; assay runs on one: use --device cuda, metal or "
                "cpu"},
    LlamaOption{"--list-devices", nothing, "", "", "", "is 'assay --version' here"},
    LlamaOption{"-sm --split-mode", value, "none", "", "", one_device},
    LlamaOption{"-mg --main-gpu", value, "0", "", "", one_device},
    LlamaOption{"-ts --tensor-split -ot --override-tensor -ncmoe --n-cpu-moe -ncffn --n-cpu-ffn "
                "--rpc",
                value, "", "", "", one_device},
    LlamaOption{"-cmoe --cpu-moe -nkvo --no-kv-offload --no-op-offload --no-host -nr --no-repack",
                nothing, "", "", "", one_device},
    LlamaOption{"-kvo --kv-offload --op-offload --repack", nothing, "*", "", "", ""},
    LlamaOption{"-tb --threads-batch", value, "", "", "",
                "is for the prompt only; assay uses one number of threads: use -t"},
    LlamaOption{"-ub --ubatch-size", value, "", "", "",
                "is llama.cpp's number of tokens in one step: use -b"},
    LlamaOption{"--numa", value, "", "", "", no_pinning},
    LlamaOption{"--prio --prio-batch --cpu-strict --cpu-strict-batch", value, "0", "", "",
                no_pinning},
    LlamaOption{"-C --cpu-mask -Cr --cpu-range -Cb --cpu-mask-batch -Crb --cpu-range-batch --poll "
                "--poll-batch",
                value, "", "", "", no_pinning},
    LlamaOption{"--mmap --no-warmup -cb --cont-batching -nocb --no-cont-batching -kvu --kv-unified "
                "-no-kvu --no-kv-unified --mmproj-auto --no-mmproj --no-mmproj-auto "
                "--mmproj-offload --no-mmproj-offload",
                nothing, "*", "", "", ""},
    LlamaOption{"-dt --defrag-thold", value, "*", "", "", ""},
    LlamaOption{"--no-mmap --no-direct-io --mlock --direct-io", nothing, "", "", "",
                "has no equivalent: assay maps the file, and the system keeps what it needs in "
                "memory"},
    LlamaOption{"-lm --load-mode", value, "mmap auto", "", "",
                "has no equivalent: assay maps the file"},
    LlamaOption{"--warmup", nothing, "", "", "", "has no equivalent: assay does not warm up"},
    LlamaOption{"--check-tensors", nothing, "", "", "",
                "is a check of the weights: use 'assay inspect --weights' or 'assay verify'"},

    // The model.
    LlamaOption{"-hf -hfr --hf-repo -hff --hf-file -hft --hf-token -mu --model-url -dr "
                "--docker-repo",
                value, "", "", "", not_downloaded},
    LlamaOption{"--rope-scaling --rope-scale --rope-freq-base --rope-freq-scale --yarn-orig-ctx "
                "--yarn-ext-factor --yarn-attn-factor --yarn-beta-slow --yarn-beta-fast "
                "--override-kv -gan --grp-attn-n -gaw --grp-attn-w --pooling --attention",
                value, "", "", "", file_says},
    LlamaOption{"--lora --lora-scaled --control-vector --control-vector-scaled", value, "", "", "",
                no_adapter},
    LlamaOption{"-md --model-draft --spec-draft-model --spec-type -hfd --hf-repo-draft -ngld "
                "--gpu-layers-draft --n-gpu-layers-draft -ctkd -ctvd -td --threads-draft --draft "
                "--draft-n --draft-max --draft-min --draft-p-min -devd",
                value, "", "", "", no_draft},
    LlamaOption{"-mm --mmproj -mmu --mmproj-url --image --audio --video", value, "", "", "",
                no_images},

    // Prompt and conversation.
    LlamaOption{"-cnv --conversation -i --interactive -if --interactive-first", nothing, "*", "",
                "chat",
                "is llama.cpp's conversation mode: use 'assay chat', or 'assay run --chat' for one "
                "question"},
    LlamaOption{"-no-cnv --no-conversation", nothing, "*", "", "run",
                "switches llama.cpp's conversation mode off: use 'assay run'"},
    LlamaOption{
        "-mli --multiline-input", nothing, "", "", "",
        "has no equivalent: in 'assay chat', \"\"\" begins and ends a message of many lines"},
    LlamaOption{"--no-escape", nothing, "*", "", "", ""},
    LlamaOption{"--no-display-prompt", nothing, "*", "", "", ""},
    LlamaOption{"--display-prompt", nothing, "", "", "",
                "has no equivalent: assay prints the generated text alone"},
    LlamaOption{"--verbose-prompt", nothing, "", "", "",
                "shows the prompt's tokens: use 'assay tokenize'"},
    LlamaOption{"-sysf --system-prompt-file", value, "", "", "",
                "reads the system message from a file: use --system \"$(cat FILE)\""},
    LlamaOption{"-bf --binary-file --in-file", value, "", "", "", "reads a prompt: use -f FILE"},
    LlamaOption{"-r --reverse-prompt", value, "", "", "",
                "ends an answer at a text: use --stop TEXT, which is not shown"},
    LlamaOption{"--in-prefix --in-suffix", value, "", "", "", template_says},
    LlamaOption{"--in-prefix-bos --skip-chat-parsing", nothing, "", "", "", template_says},
    LlamaOption{"--jinja", nothing, "*", "", "", ""},
    LlamaOption{"--no-jinja", nothing, "", "", "",
                "has no equivalent: assay always uses the template as it stands"},
    LlamaOption{"--chat-template-kwargs --reasoning-format -rea --reasoning --reasoning-effort "
                "--reasoning-budget",
                value, "", "", "", no_reasoning},
    LlamaOption{"--keep", value, "0", "", "",
                "is for llama.cpp's context shift, which assay does not have: a full context ends "
                "the text; 'assay chat --context-full drop-oldest' drops old turns"},
    LlamaOption{"--context-shift", nothing, "", "", "",
                "has no equivalent: a full context ends the text; 'assay chat --context-full "
                "drop-oldest' drops old turns"},
    LlamaOption{"--no-context-shift --swa-full", nothing, "*", "", "", ""},
    LlamaOption{"--prompt-cache", value, "", "", "",
                "keeps a prompt's state: use 'assay chat --session FILE', which keeps the "
                "conversation"},
    LlamaOption{"-np --parallel -ns --sequences", value, "1", "", "",
                "is for several texts at once; 'assay run' makes one"},

    // Sampling.
    LlamaOption{"--samplers --sampler-seq --sampling-seq", value, "", "", "",
                "orders llama.cpp's samplers; assay's order is fixed: penalties, top-k, top-p, "
                "min-p, temperature"},
    LlamaOption{"--mirostat --xtc-probability --dry-multiplier --dynatemp-range", value, "0 0.0",
                "", "", no_sampler},
    LlamaOption{"--typical --typical-p", value, "1 1.0", "", "", no_sampler},
    LlamaOption{"--top-nsigma --top-n-sigma --adaptive-target", value, "-1 -1.0", "", "",
                no_sampler},
    LlamaOption{"--mirostat-lr --mirostat-ent --xtc-threshold --dry-base --dry-allowed-length "
                "--dry-penalty-last-n --dry-sequence-breaker --dynatemp-exp --adaptive-decay",
                value, "", "", "", no_sampler},
    LlamaOption{"-bs --backend-sampling", nothing, "", "", "",
                "has no equivalent: a GPU draws the tokens itself where it can"},
    LlamaOption{"-l --logit-bias", value, "", "", "",
                "changes single logits; assay has --ignore-eos and the penalties only"},
    LlamaOption{"--grammar --grammar-file -j --json-schema -jf --json-schema-file", value, "", "",
                "", no_grammar},

    // Output.
    LlamaOption{"--perf --show-timings", nothing, "*", "", "run", "has no equivalent here"},
    LlamaOption{"--no-perf --no-show-timings --log-disable", nothing, "", "", "",
                "has no equivalent: only the text goes to stdout; '2>/dev/null' hides the rest"},
    LlamaOption{"--log-file", value, "", "", "",
                "has no equivalent: only the text goes to stdout; '2>FILE' keeps the rest"},
    LlamaOption{"-lv --verbosity --log-verbosity", value, "", "", "", "is a level: use -v"},
    LlamaOption{"-co --color", perhaps, "auto", "", "",
                "has no equivalent: assay looks at the terminal and at NO_COLOR"},
    LlamaOption{"--simple-io", nothing, "", "", "",
                "has no equivalent: give 'assay chat' its lines through a pipe"},
    LlamaOption{"--host --port --api-key --api-key-file -a --alias -to --timeout --threads-http "
                "--path --slot-save-path -sps --slot-prompt-similarity --models-dir --models-max "
                "--models-preset --cache-reuse -cram --cache-ram -ctxcp --ctx-checkpoints "
                "--swa-checkpoints -cms --checkpoint-min-step --ssl-key-file --ssl-cert-file",
                value, "", "", "", no_server},
    LlamaOption{"--metrics --props --slots --no-slots --ui --no-ui --cache-prompt "
                "--no-cache-prompt --embedding --embeddings --rerank --reranking",
                nothing, "", "", "", no_server},
};

struct OtherCommand {
  std::string_view names, instead;
};
constexpr std::array commands = {
    OtherCommand{"generate complete completion cli llama-cli llama-completion",
                 "use 'assay run', or 'assay chat' for a conversation"},
    OtherCommand{"info show metadata llama-gguf gguf-dump", "use 'assay inspect MODEL'"},
    OtherCommand{"encode llama-tokenize", "use 'assay tokenize'"},
    OtherCommand{"llama-bench benchmark", "use 'assay bench'"},
    OtherCommand{"compare", "use 'assay diff'"},
    OtherCommand{"serve server llama-server", "assay has no server yet"},
    OtherCommand{"pull download fetch",
                 "assay does not download models yet: download the GGUF file and give its path"},
    OtherCommand{"list ls ps rm", "assay keeps no list of models: give the path of a GGUF file"},
    OtherCommand{"quantize llama-quantize perplexity llama-perplexity embed embedding convert",
                 "assay does not do that yet"},
};

}  // namespace

std::vector<std::string> words_of(std::string_view list) {
  std::vector<std::string> words;
  while (!list.empty()) {
    words.emplace_back(list.substr(0, list.find(' ')));
    list.remove_prefix(std::min(list.size(), words.back().size() + 1));
  }
  return words;
}

bool has_word(std::string_view list, std::string_view word) {
  return std::ranges::count(words_of(list), word) > 0;
}

const LlamaOption* find_llama_option(std::string_view name) {
  const auto found = std::ranges::find_if(
      options, [&](const LlamaOption& option) { return has_word(option.names, name); });
  return found == options.end() ? nullptr : &*found;
}

std::span<const LlamaOption> llama_options() {
  return options;
}

std::string_view instead_of_command(std::string_view name) {
  for (const OtherCommand& command : commands)
    if (has_word(command.names, name)) return command.instead;
  return {};
}
