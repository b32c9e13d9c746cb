// Which pre-tokenizer cuts how: the data behind find_rules. The expressions are the models' own
// (tokenizer.json), in the form in which llama.cpp applies them, because its ids are the measure:
// contractions in ASCII only, capitals and small letters told apart in ASCII only. \s and \S are
// the Unicode property White_Space (see with_white_space). Written so that a match is found in time
// proportional to its length: one class a repeat, no nested repeats.
#include <array>

#include "text/pre_tokenizer.h"

namespace assay::text {
namespace {

// Words with the space before them; numbers and marks alike.
constexpr CutRule gpt2_words{
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"};
constexpr CutRule each_number{R"(\p{N})"};
constexpr CutRule numbers_by_three{R"(\p{N}{1,3})"};
constexpr CutRule each_line_end{R"([\r\n])"};
constexpr CutRule lines{R"([^\n]+|\n+)"};
// Each number of ASCII digits at most three long, cut from the left.
constexpr CutRule three_digits{R"([0-9]{3})"};

// Words with any one mark before them, up to three digits, line ends kept together.
constexpr CutRule llama3_words{
    R"('(?:[sStTmMdD]|[rRvV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
// As llama3's, but digits alone.
constexpr CutRule qwen2_words{
    R"('(?:[sStTmMdD]|[rRvV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
// As qwen2's, but combining marks belong to words.
constexpr CutRule qwen35_words{
    R"('(?:[sStTmMdD]|[rRvV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N})"
    R"(| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
// As qwen2's, without contractions.
constexpr CutRule ufakzeka_words{
    R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
// As qwen2's, but marks leave line ends alone.
constexpr CutRule seed_coder_words{
    R"('(?:[sStTmMdD]|[rRvV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+)"};
// As qwen2's, but white space ends at its last line end, of which one is enough.
constexpr CutRule bailing_words{
    R"('(?:[sStTmMdD]|[rRvV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"};
// Several words with single spaces between them are one piece; marks end with one line end or
// slash.
constexpr CutRule exaone_moe_words{
    R"('(?:[sStTmMdD]|[rRvV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}(?:[\p{L}\p{M}]++| (?=\p{L}))*+)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"};
// As llama3's, but numbers whole (after they were cut by three).
constexpr CutRule minicpm5_words{
    R"('(?:[sStTmMdD]|[rRvV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+)"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
// As llama3's, but white space in runs of powers of two up to 512. Within such a run no line end
// can follow, or it would be one piece with it: there it isn't looked for, at every 512 to the far
// end.
constexpr CutRule jais2_words{
    R"('(?:[sStTmMdD]|[rRvV][eE]|[lL][lL])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|(?:(?<!\s)|(?<=[\r\n]))\s*[\r\n]+)"
    R"(|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S))"
    R"(|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s)"};

// Capitals then small letters are a word: [^\P{L}a-z] is a letter but a-z. tekken: digits alone.
constexpr CutRule tekken_words{
    R"([^\r\n\p{L}\p{N}]?[^\P{L}a-z]*[^\P{L}A-Z]+|[^\r\n\p{L}\p{N}]?[^\P{L}a-z]+[^\P{L}A-Z]*|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
// As tekken's, but contractions belong to the word before them, and digits go by three.
constexpr CutRule gpt4o_words{
    R"([^\r\n\p{L}\p{N}]?[^\P{L}a-z]*[^\P{L}A-Z]+(?:'(?:[sStTmMdD]|[rRvV][eE]|[lL][lL]))?)"
    R"(|[^\r\n\p{L}\p{N}]?[^\P{L}a-z]+[^\P{L}A-Z]*(?:'(?:[sStTmMdD]|[rRvV][eE]|[lL][lL]))?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
// As gpt-4o's, but combining marks count as letters: what is none of N, P, S, Z and C.
constexpr CutRule granite_words{
    R"([^\r\n\p{L}\p{N}]?[^\p{N}\p{P}\p{S}\p{Z}\p{C}a-z]*[^\p{N}\p{P}\p{S}\p{Z}\p{C}A-Z]+)"
    R"((?:'(?:[sStTmMdD]|[rRvV][eE]|[lL][lL]))?)"
    R"(|[^\r\n\p{L}\p{N}]?[^\p{N}\p{P}\p{S}\p{Z}\p{C}a-z]+[^\p{N}\p{P}\p{S}\p{Z}\p{C}A-Z]*)"
    R"((?:'(?:[sStTmMdD]|[rRvV][eE]|[lL][lL]))?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
// Letters and marks of any case, then a contraction.
constexpr CutRule tiny_aya_words{
    R"([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?:'(?:[sStTmMdD]|[rRvV][eE]|[lL][lL]))?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr CutRule youtu_words{
    R"([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+(?:'(?:[sStTmMdD]|[rRvV][eE]|[lL][lL]))?)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr CutRule youtu_scripts{
    R"([가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|[一-龥぀-ゟ゠-ヿ]+)"};
// Han by blocks apart from the other letters; contractions belong to the word before them.
constexpr CutRule kimi_words{
    R"([一-鿿㐀-䶿\x{20000}-\x{2a6df}\x{2a700}-\x{2ebef}\x{f900}-\x{faff}\x{2f800}-\x{2fa1f}]+)"
    R"(|[^\r\n\p{L}\p{N}]?)"
    R"([^\P{L}一-鿿㐀-䶿\x{20000}-\x{2a6df}\x{2a700}-\x{2ebef})"
    R"(\x{f900}-\x{faff}\x{2f800}-\x{2fa1f}]+)"
    R"((?:'(?:[sStTmMdD]|[rRvV][eE]|[lL][lL]))?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};

// DeepSeek's first: letters of scripts with two cases; marks; white space at the end; Chinese,
// Japanese and Korean. White space in the last class's range U+0800..U+9FA5 is left out of it, and
// U+3000 of the marks, as llama.cpp has it. Only the start of white space is tried against its end,
// or a run of spaces would cost its square.
constexpr CutRule cased_letters{
    R"(\s?[)"
    R"(A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386})"
    R"(\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f})"
    R"(\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd})"
    R"(\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77})"
    R"(\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45})"
    R"(\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d})"
    R"(\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc})"
    R"(\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4})"
    R"(\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d})"
    R"(\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139})"
    R"(\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b})"
    R"(\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d})"
    R"(\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e})"
    R"(\x{ab70}-\x{abbf}\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a})"
    R"(\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb})"
    R"(\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943})"
    R"(]+)"};
constexpr CutRule deepseek_marks{R"(\s?[!-/:-~！-／：-～‘-‟、。]+)"};
constexpr CutRule white_space_at_end{R"((?<!\s)\s++\z)"};
constexpr CutRule east_asian{
    R"([\x{800}-\x{167f}\x{1681}-\x{1fff}\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e})"
    R"(\x{2060}-\x{2fff}\x{3001}-\x{9fa5}\x{ac00}-\x{d7ff}]+)"};
constexpr CutRule number_runs{R"(\p{N}+)"};
constexpr CutRule letters_with_space{R"(\s?\p{L}+)"};
constexpr CutRule marks_with_space{R"(\s?\p{P}+)"};
// DeepSeek's third: Han and kana, then words with marks in them.
constexpr CutRule han_and_kana{R"([一-龥぀-ゟ゠-ヿ]+)"};
constexpr CutRule deepseek3_words{R"([!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
                                  R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"};
constexpr CutRule spark_words{R"([!-/:-@\[-`{-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
                              R"(| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+)"};
// As llama.cpp has it, with U+8C48 where U+F900 will have been meant (its normal form): so Yi, some
// Latin letters and what is for private use count as well.
constexpr CutRule asian_scripts{
    R"([一-鿿㐀-䶿\x{8c48}-\x{d7ff}\x{e000}-\x{faff}぀-ゟ゠-ヿ･-ﾟ\x{2f00}-\x{2fdf}เ-\x{e7f}\x{e80}-\x{eff})"
    R"(ក-\x{17ff}က-\x{109f}\x{aa60}-\x{aa7f}\x{a9e0}-\x{a9ff}가-\x{d7af}\x{1100}-\x{11ff}]+)"};
constexpr CutRule threes_from_right{R"(\p{N}+)", Cut::after_threes};
constexpr CutRule digits_from_right{R"([0-9]+)", Cut::before_threes};

constexpr CutRule falcon_marks{R"([\p{P}$+<=>^~|`]+)"};
constexpr CutRule default_marks{R"([\p{P}$+<=>^~|]+)"};
// Everything between white space and the marks that end a phrase, with the space before it.
constexpr CutRule bloom_words{R"( ?[^(\s|.,!?…。，、।۔،)]+)"};
// Chameleon's image tokens, indentation, marks.
constexpr CutRule sentinels{R"(<sentinel:[0-9]+>)"};
constexpr CutRule images{R"(IMGIMG[A-I]{1,4}Z)"};
constexpr CutRule indentation{R"([\t\n]|    |  )"};
constexpr CutRule each_mark{R"([\p{P}!-/:-@\[-`{-~])"};

constexpr std::array gpt2{gpt2_words};
constexpr std::array smollm{each_number, gpt2_words};
constexpr std::array by_default{default_marks, gpt2_words, number_runs, three_digits};
constexpr std::array falcon{falcon_marks, gpt2_words, three_digits};
constexpr std::array llama3{llama3_words};
constexpr std::array qwen2{qwen2_words};
constexpr std::array qwen35{qwen35_words};
constexpr std::array ufakzeka{ufakzeka_words};
constexpr std::array seed_coder{seed_coder_words};
constexpr std::array bailing{bailing_words};
constexpr std::array exaone_moe{exaone_moe_words};
constexpr std::array minicpm5{numbers_by_three, minicpm5_words};
constexpr std::array jais2{jais2_words};
constexpr std::array tekken{tekken_words};
constexpr std::array gpt4o{gpt4o_words};
constexpr std::array granite{granite_words};
constexpr std::array tiny_aya{threes_from_right, tiny_aya_words};
constexpr std::array youtu{youtu_scripts, youtu_words};
constexpr std::array kimi{kimi_words};
constexpr std::array deepseek_llm{each_line_end,      cased_letters, deepseek_marks,
                                  white_space_at_end, east_asian,    number_runs};
constexpr std::array deepseek_coder{each_line_end, letters_with_space, marks_with_space, east_asian,
                                    each_number};
constexpr std::array deepseek3{numbers_by_three, han_and_kana, deepseek3_words};
constexpr std::array spark{numbers_by_three, han_and_kana, spark_words, each_number};
constexpr std::array afmoe{threes_from_right, asian_scripts, deepseek3_words};
constexpr std::array superbpe{number_runs, digits_from_right};
constexpr std::array bloom{bloom_words};
constexpr std::array viking{bloom_words, each_number};
constexpr std::array whole_lines{lines};
constexpr std::array laguna{lines, qwen2_words};
constexpr std::array chameleon{sentinels, images, indentation, each_number, each_mark, gpt2_words};

// Names beside each other on a line have the very same rules. A name that is not here is refused:
// other rules would give other ids without a sign.
constexpr bool whole = true, raw = true, line_ends = true;
using enum AddsBos;
constexpr PreTokenizerRules all_rules[] = {
    {"default", by_default},
    {"gpt-2", gpt2},
    {"phi-2", gpt2},
    {"mpt", gpt2},
    {"olmo", gpt2},
    {"jais", gpt2},
    {"trillion", gpt2},
    {"exaone4", gpt2},
    {"gigachat", gpt2},
    {"a.x-4.0", gpt2},
    {"mellum", gpt2},
    {"granite-docling", gpt2},
    {"modern-bert", gpt2},
    {"roberta-bpe", gpt2},
    {"jina-es", gpt2},
    {"jina-de", gpt2},
    {"jina-v1-en", gpt2},
    {"jina-v2-es", gpt2},
    {"jina-v2-de", gpt2},
    {"jina-v2-code", gpt2},
    {"smollm", smollm},
    {"starcoder", smollm},
    {"refact", smollm},
    {"command-r", smollm},
    {"codeshell", smollm},
    {"exaone", smollm},
    {"minerva-7b", smollm},
    {"mellum2", smollm},
    {"falcon", falcon},
    {"llama-bpe", llama3, whole, where_silent},
    {"llama3", llama3, whole, where_silent},
    {"llama-v3", llama3, whole, where_silent},
    {"falcon3", llama3, whole, where_silent},
    {"falcon-h1", llama3, whole, where_silent},
    {"pixtral", llama3, whole, where_silent},
    {"midm-2.0", llama3, whole, where_silent},
    {"lfm2", llama3, whole, where_silent},
    {"jina-v5-nano", llama3, whole, where_silent},
    {"glm4", llama3, whole},
    {"glm5", llama3, whole},
    {"chatglm-bpe", llama3},
    {"dbrx", llama3},
    {"smaug-bpe", llama3},
    {"qwen2", qwen2},
    {"deepseek-r1-qwen", qwen2},
    {"megrez", qwen2},
    {"stablelm2", qwen2},
    {"hunyuan", qwen2},
    {"solar-open", qwen2},
    {"grok-2", qwen2},
    {"kormo", qwen2},
    {"f2llmv2", qwen2},
    {"qwen35", qwen35},
    {"ufakzeka", ufakzeka},
    {"laguna", laguna},
    {"seed-coder", seed_coder},
    {"bailingmoe", bailing},
    {"bailingmoe2", bailing},
    {"llada-moe", bailing},
    {"exaone-moe", exaone_moe},
    {"minicpm5", minicpm5, whole},
    {"jais-2", jais2},
    {"tekken", tekken, whole, where_silent},
    {"gpt-4o", gpt4o},
    {"llama4", gpt4o},
    {"kanana2", gpt4o},
    {"talkie", gpt4o},
    {"minimax-m2", gpt4o},
    {"granite-embed-multi-97m", granite, whole},
    {"tiny_aya", tiny_aya},
    {"cohere2moe", tiny_aya},
    {"youtu", youtu, whole},
    {"kimi-k2", kimi},
    {"deepseek-llm", deepseek_llm},
    {"deepseek-coder", deepseek_coder},
    {"deepseek-v3", deepseek3},
    {"hunyuan-dense", deepseek3},
    {"joyai-llm", deepseek3},
    {"hy_v4", deepseek3},
    {"spark2_5", spark},
    {"afmoe", afmoe},
    {"superbpe", superbpe},
    {"poro-chat", bloom},
    {"bloom", bloom},
    {"gpt3-finnish", bloom},
    {"viking", viking},
    {"chameleon", chameleon, !whole, where_silent},
    {"gemma4", whole_lines, !whole, always, raw, line_ends},
    {"granite-embed-multi-311m", whole_lines, !whole, always, raw, line_ends},
    {"sarvam-moe", whole_lines, !whole, no, raw},
};

}  // namespace

std::span<const PreTokenizerRules> pre_tokenizer_rules() {
  return all_rules;
}

const PreTokenizerRules* find_rules(std::string_view name) {
  for (const auto& rules : all_rules) {
    if (rules.name == name) return &rules;
  }
  return nullptr;
}

std::string supported_pre_tokenizers() {
  std::string names;
  for (const auto& rules : all_rules) {
    if (!names.empty()) names += ", ";
    names += rules.name;
  }
  return names;
}

}  // namespace assay::text
