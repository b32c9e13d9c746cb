#include "model/missing.h"

namespace assay::model {

namespace {

constexpr std::string_view delta_net = "recurrent layers (gated delta net) are not implemented",
                           mamba = "recurrent layers (Mamba's scan) are not implemented",
                           rwkv = "recurrent layers (RWKV) are not implemented",
                           kda = "recurrent layers (Kimi delta attention) are not implemented",
                           convolution = "short convolutions over tokens are not implemented",
                           linear = "linear attention with decay is not implemented",
                           latent = "multi-head latent attention is not implemented",
                           sparse = "attention over indexed blocks is not implemented",
                           streams = "several residual streams are not implemented",
                           encoder =
                               "it is an encoder, and attention without order is not "
                               "implemented",
                           unordered =
                               "it writes all tokens at once, and attention without order "
                               "is not implemented",
                           images =
                               "it is the part that reads images or sound, not a language "
                               "model",
                           vision =
                               "blocks with weights of their own for images are not "
                               "implemented",
                           sound = "it gives sound, and only text is implemented",
                           draft = "it drafts for another model, and drafts are not implemented";

struct Row {
  std::string_view name, missing;
};

constexpr Row rows[] = {
    {"arwkv7", rwkv},
    {"bailingmoe3", kda},
    {"bert", encoder},
    {"bitnet", "norms inside attention and the feed-forward part are not implemented"},
    {"chameleon", "logits of images that are never drawn are not implemented"},
    {"clip", images},
    {"cogvlm", vision},
    {"deepseek2", latent},
    {"deepseek2-ocr", latent},
    {"deepseek32", sparse},
    {"deepseek4", sparse},
    {"dflash", draft},
    {"dots3note", latent},
    {"dream", unordered},
    {"eagle3", draft},
    {"eurobert", encoder},
    {"falcon-h1", mamba},
    {"gemma-embedding", encoder},
    {"gemma3n", "AltUp's four residual streams and Laurel blocks are not implemented"},
    {"gemma4-assistant", draft},
    {"glm-dsa", sparse},
    {"glm5-next", latent},
    {"gptj", "llama.cpp knows the name alone"},
    {"granitehybrid", mamba},
    {"graniteswitch", "adapters that tokens switch are not implemented"},
    {"grovemoe", "chunk experts beside the experts are not implemented"},
    {"hrm_text", "two stacks of blocks that run in cycles are not implemented"},
    {"hy_v4", latent},
    {"jamba", mamba},
    {"jina-bert-v2", encoder},
    {"jina-bert-v3", encoder},
    {"kimi-k3", kda},
    {"kimi-linear", kda},
    {"lfm2", convolution},
    {"lfm2moe", convolution},
    {"llada", unordered},
    {"llada-moe", unordered},
    {"llama-embed", encoder},
    {"mamba", mamba},
    {"mamba2", mamba},
    {"minicpm3", latent},
    {"minimax-01", linear},
    {"minimax-m3", sparse},
    {"mistral4", latent},
    {"modern-bert", encoder},
    {"nemotron_h", mamba},
    {"nemotron_h_moe", mamba},
    {"neo-bert", encoder},
    {"nomic-bert", encoder},
    {"nomic-bert-moe", encoder},
    {"phimoe", "its router, a sparse mixer, is not implemented"},
    {"plamo2", mamba},
    {"plm", latent},
    {"pockettts", sound},
    {"qwen35", delta_net},
    {"qwen35moe", delta_net},
    {"qwen3next", delta_net},
    {"qwen3tts", sound},
    {"qwen4exp", delta_net},
    {"rnd1", unordered},
    {"rwkv6", rwkv},
    {"rwkv6qwen2", rwkv},
    {"rwkv7", rwkv},
    {"step35", "RoPE of half the dimensions in layers without a window is not implemented"},
    {"t5", encoder},
    {"t5encoder", encoder},
    {"wavtokenizer-dec", sound},
};

}  // namespace

std::string_view what_is_missing(std::string_view architecture) {
  for (const Row& row : rows)
    if (row.name == architecture) return row.missing;
  return {};
}

}  // namespace assay::model
