// Every kernel, for the device that knows them by name: included once, before any file of them. Who
// launches a kernel includes its own file.
#pragma once

#include "lang/lang_entries.h"

#include "kernel/attention.h"
#include "kernel/attention_tile.h"
#include "kernel/cache.h"
#include "kernel/elementwise.h"
#include "kernel/embed.h"
#include "kernel/experts.h"
#include "kernel/matmul.h"
#include "kernel/matvec.h"
#include "kernel/norm.h"
#include "kernel/probe.h"
#include "kernel/route.h"
#include "kernel/sample.h"
#include "kernel/top_k.h"
