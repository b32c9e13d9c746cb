// Snowflake Arctic: experts beside the feed-forward part, from the block's own input.
#include "model/architecture.h"

namespace assay::model {

extern constexpr Architecture arctic = {.name = "arctic",
                                        .rope = {.pairs = Rotation::Pairs::adjacent},
                                        .ffn = {.width = FeedForward::Width::model},
                                        .experts = {.where = Experts::Where::everywhere,
                                                    .renormalise = Experts::Renormalise::always,
                                                    .width = Experts::Width::ffn,
                                                    .dense = Experts::Dense::reads_norm}};

}  // namespace assay::model
