// The faulty twins as CUDA: they join the queue's kernels where this file is linked.
#include "fault/kernels.h"
