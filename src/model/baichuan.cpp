// Baichuan: the one of 32 blocks turns, the one of 40 has ALiBi.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture baichuan = {
    .name = "baichuan",
    .head = {.weight = Presence::required},
    .attention = {.alibi = 8, .alibi_with = 40},
    .rope = {.pairs = Rotation::Pairs::adjacent, .only_with = 32}};

}  // namespace assay::model
