// Every kernel. A device includes this once.
#pragma once

#include "kernel/attention.h"
#include "kernel/attention_tile.h"
#include "kernel/cache.h"
#include "kernel/elementwise.h"
#include "kernel/embed.h"
#include "kernel/matmul.h"
#include "kernel/matvec.h"
#include "kernel/norm.h"
#include "kernel/probe.h"
#include "kernel/sample.h"
#include "kernel/top_k.h"
