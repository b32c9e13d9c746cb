// What metal-cpp takes from the SDK's header of this name, where there is no SDK.
#pragma once

typedef struct __IOSurface* IOSurfaceRef;
