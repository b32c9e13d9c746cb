// What metal-cpp takes from the SDK's header of this name, where there is no SDK.
#pragma once

#include <stdint.h>

typedef double CFTimeInterval;
