#include "cpu/cache.h"

#include "lang/lang.h"

namespace assay::cpu {

namespace {

uint32_t round_up(uint32_t n, uint32_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

void put(uint8_t* base, bool f16, uint64_t index, float value) {
  if (f16)
    reinterpret_cast<uint16_t*>(base)[index] = k_f32_to_f16(value);
  else
    reinterpret_cast<float*>(base)[index] = value;
}

float get(const uint8_t* base, bool f16, uint64_t index) {
  return f16 ? k_f16_to_f32(reinterpret_cast<const uint16_t*>(base)[index])
             : reinterpret_cast<const float*>(base)[index];
}

uint64_t element_bytes(const op::ExecutorOptions& options) {
  return options.cache == op::CacheType::f16 ? 2 : 4;
}

}  // namespace

Cache::Cache(const op::CacheShape& shape, const op::ExecutorOptions& options, uint32_t window)
    : shape_(shape),
      f16_(options.cache == op::CacheType::f16),
      value_stride_(round_up(shape.value_dim, 16)),
      rows_(uint64_t(op::pages_of(options, window)) * shape.kv_heads * key_chunk) {
  // calloc of large sizes gives untouched zero pages.
  keys_.reset(static_cast<uint8_t*>(std::calloc(rows_, shape_.key_dim * element_bytes(options))));
  values_.reset(static_cast<uint8_t*>(std::calloc(rows_, value_stride_ * element_bytes(options))));
}

uint64_t Cache::bytes(const op::CacheShape& shape, const op::ExecutorOptions& options,
                      uint32_t window) {
  const uint64_t row = shape.key_dim + round_up(shape.value_dim, 16);
  return uint64_t(op::pages_of(options, window)) * shape.kv_heads * key_chunk * row *
         element_bytes(options);
}

const uint8_t* Cache::keys(uint32_t kv_head) const {
  return keys_.get() + kv_head * head_keys() * (f16_ ? 2 : 4);
}

const uint8_t* Cache::values(uint32_t kv_head) const {
  return values_.get() + kv_head * head_values() * (f16_ ? 2 : 4);
}

void Cache::store(Place place, const float* keys, const float* values) {
  const uint32_t key_dim = shape_.key_dim, value_dim = shape_.value_dim;
  for (uint32_t head = 0; head < shape_.kv_heads; ++head) {
    auto* k = const_cast<uint8_t*>(this->keys(head));
    auto* v = const_cast<uint8_t*>(this->values(head));
    const uint64_t key = place.page * key_page() + place.slot;
    const uint64_t value = place.page * value_page() + uint64_t(place.slot) * value_stride_;
    for (uint32_t d = 0; d < key_dim; ++d)
      put(k, f16_, key + uint64_t(d) * key_chunk, keys[head * key_dim + d]);
    for (uint32_t d = 0; d < value_dim; ++d) put(v, f16_, value + d, values[head * value_dim + d]);
  }
}

void Cache::fill(float value) {
  for (uint64_t i = 0; i < rows_ * shape_.key_dim; ++i) put(keys_.get(), f16_, i, value);
  for (uint64_t i = 0; i < rows_ * value_stride_; ++i) put(values_.get(), f16_, i, value);
}

void Cache::read(Place place, float* keys, float* values) const {
  const uint32_t key_dim = shape_.key_dim, value_dim = shape_.value_dim;
  for (uint32_t head = 0; head < shape_.kv_heads; ++head) {
    const uint8_t* k = this->keys(head);
    const uint8_t* v = this->values(head);
    const uint64_t key = place.page * key_page() + place.slot;
    const uint64_t value = place.page * value_page() + uint64_t(place.slot) * value_stride_;
    for (uint32_t d = 0; d < key_dim; ++d)
      keys[head * key_dim + d] = get(k, f16_, key + uint64_t(d) * key_chunk);
    for (uint32_t d = 0; d < value_dim; ++d) values[head * value_dim + d] = get(v, f16_, value + d);
  }
}

}  // namespace assay::cpu
