// The program that traces were made with.
#pragma once

#include <initializer_list>

#include "base/result.h"
#include "gguf/file.h"
#include "op/program.h"
#include "trace/trace_file.h"

/// The file's program for the context limit that the traces name, which chooses between long and
/// short RoPE factors; a trace that names none has the trained context. Null pointers are left out.
/// Errors: what model::build refuses; traces of different factors, which no one program can judge.
assay::Result<assay::op::Program> traced_program(
    const assay::gguf::File& file, std::initializer_list<const assay::trace::Trace*> traces);
