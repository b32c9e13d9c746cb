#include "device/cuda/words.h"
