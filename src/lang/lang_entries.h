// Kernels that are defined after this line join the kernels that this program's devices know by
// name; those before it are handles, for launching them, and no more. A source that includes it
// gives each of its kernels to the device, so each kernel is in one such source (kernel/list.h). In
// Metal every kernel is an entry of the text that it stands in.
#pragma once

#include "lang/lang.h"

#if defined(__METAL_VERSION__)
#else
#undef K_KERNEL
#define K_KERNEL(name, Args, Shared, Group) ASSAY_ENTRY(name, Args, Shared, Group)
#endif
