// Made by `assay verify --synthetic --device emulated --store src/verify/stored_bits.cpp`.
// clang-format off
#include "verify/stored.h"

namespace assay::verify {

const Stored& stored_bits() {
  static const Stored stored = {
      "emulated",
      "assay/1",
      Level::quick,
      {
          {"embed", "F32", "25269d354ff523ee9d2247b9e06a9d0a9a5e4a64e050772e375a8fa99e06106c"},
          {"matmul", "F32", "7c2be1046dbb7d4f0201632060e5b90d4b471b25e0629bb566f50a622530fc9d"},
          {"embed", "F16", "04cb69716b52ca3b916c1bc85c24c790bf0e6722245fc8ad575c73d4e1c3db67"},
          {"matmul", "F16", "2d3e47f74d66508cbf119e667fd8afb66a3cb960631ab8e35c276d2b159b2497"},
          {"embed", "BF16", "774187f5729f1dd4fd773dfcc66a5a46b438ce436ed8ffe118a4c6127e5ede49"},
          {"matmul", "BF16", "74efc8b2406a039a553c288f382ee6476ae7edb6f8e0959b874a9acdbb61d07e"},
          {"embed", "Q8_0", "b447c08c1863fab49fc2369efb3ec06fd827fe306fb1a29c6d10bca71856b5aa"},
          {"matmul", "Q8_0", "9dae4b5536c495cf25e4d6a2a77d6aa9b3e0660fdb39f604fbfade5df1b977b7"},
          {"embed", "Q4_0", "590992a0d3e3af224cf6afa201d5bafe0d02f39289ee684c2643c809dacac41f"},
          {"matmul", "Q4_0", "ad9c4b6e6ba641f670212107247800963e250a54d341fe18e23a27c80b7bd312"},
          {"embed", "Q4_1", "40b3caff928759977e9eb66415e9a343ef381c3eb88cccd3ac9e4c23a2aa614a"},
          {"matmul", "Q4_1", "e5423b1d39c9de3f0c0f45e8ff8188feadfea73c746fd9c50c7196cd8ee8841e"},
          {"embed", "Q5_0", "d5d47a2dc2c4527195f70aaaaed949cd0f105bcb3817c7c1f36d9202cba1d786"},
          {"matmul", "Q5_0", "441f368c7feecd0d6b0cfb26b8263be9dedd2b046b0040d33ab2182c070fbc9b"},
          {"embed", "Q5_1", "86338207ea4ce740e787cfa81a4b5ad4453fb4dca9e2658a9d59663146442eb8"},
          {"matmul", "Q5_1", "76ec89d08513566cd2e81a385bcb6a3fb35cc201fb8ff1bf3871b4353d8178a9"},
          {"embed", "Q2_K", "e1b1698439d824863db8dc6add459621edf3f3533fce45ed8474d5fcfde90f6a"},
          {"matmul", "Q2_K", "c97f644d70de236571d6631d40b082b4b1713d51f629acac642d1efc6873397d"},
          {"embed", "Q3_K", "b5ceeb91b260af74d9f207fcdf2adbe5d2d5a2af4a7ff5665e430ce8fe58639a"},
          {"matmul", "Q3_K", "8e74de8ddff804d35b013369acf6362dc29bad500598ffb2e1b0be6dd9d9f77a"},
          {"embed", "Q4_K", "f73d10a7b0d4e2a29d294d2f6eea74d95a711b2dc91bc8864ff82d13153c6f65"},
          {"matmul", "Q4_K", "90517f54458aefc59d22e44d1f4a0de575a9b2047716eaa67dd8c11c115714e5"},
          {"embed", "Q5_K", "e277a14d7097a3e35e7a711bbf4261fcba222292cf4871887f8d11fc0f035fbf"},
          {"matmul", "Q5_K", "a1ef43af60a83b95d81c8bc2f28611d3299b75668b0a5892250118d9b61b063a"},
          {"embed", "Q6_K", "76262d9fe9e10ad35b788e92011fdb854d702ed91e3f0deb2491e0afb1d3b4ad"},
          {"matmul", "Q6_K", "53ca0e24d165bda2696780ab76f7bade6a73864535065fdad49980762a917e30"},
          {"embed", "IQ4_NL", "79059ec6becf6186596cbeb8262a0de99789fda4a9dd1fcb9563281673f72d10"},
          {"matmul", "IQ4_NL", "3e1c546f62021e81803298bf1be9b62f8c7451d1e6517ad6e0d173278be39929"},
          {"rms_norm", "F32", "788ae37c1599952ed7a3ce469175cfd9151abeb63bc40a143d656ce7f9c06dd9"},
          {"swiglu", "f32", "68878573710c84dbd40932f908aac58bc3c48941f472ca98995a8eedf6ff3296"},
          {"add", "f32", "8325c228ee2d1ebe44eae61bd481be97b1bba8c57c3831729f60d9127e41298f"},
          {"scale", "f32", "e173e8a3268040c7476886b4821394c4781cce4cd7427a9cc5fb0684b19aba53"},
          {"select_rows", "f32", "4aedd1c4fc3db48334ad8aff81f354a791f765ef424b6e5a6ffbffd3cba4ca0d"},
          {"rope", "f32", "27dca840dcbc9a903cf73f3e51f5f658715052f1168be2cacbf0cf58c5e720df"},
          {"kv_store", "f16", "3909249b8a2a396ce7883409573260a69c843617a5a27e441c9dcb8eb2e63af5"},
          {"attention", "f16", "3451433496818a1fd1f7a4f8efe939e330661f2493e2f609f179bb1136d58ebc"},
      }};
  return stored;
}

}  // namespace assay::verify
