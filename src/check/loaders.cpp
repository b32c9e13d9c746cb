// What a kit carries beside its arrays: loaders in four languages, and its README.
#include <fmt/format.h>

#include <array>

#include "check/kit.h"
#include "op/kinds.h"

namespace assay::check {

namespace {

constexpr std::string_view c =
    R"file(// Checks a kernel's output (.npy, float32, C order) against a case of this kit.
//   cc load.c -o load -lm && ./load blk.0.q y.npy [f32|assay1]       exit code: 0 PASS, 1 FAIL, 2 cannot
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

float *load(const char *path, long *count) {
  static unsigned char head[65536];
  FILE *file = fopen(path, "rb");
  long read = file ? (long)fread(head, 1, sizeof head - 1, file) : 0;
  long start = 10 + head[8] + 256 * head[9];  // version 1.0: the header's length is in two bytes
  if (read < start || memcmp(head, "\x93NUMPY\x01", 7) || !strstr((char *)head + 10, "'<f4', 'fortran_order': False"))
    fprintf(stderr, "%s: not a .npy file of float32 in C order\n", path), exit(2);
  fseek(file, 0, SEEK_END);
  *count = (ftell(file) - start) / 4;
  float *values = malloc(*count * 4 + 1);
  fseek(file, start, SEEK_SET);
  if (fread(values, 4, *count, file) != (size_t)*count) exit(2);
  fclose(file);
  return values;
}

int main(int argc, char **argv) {
  if (argc < 3) return fprintf(stderr, "load CASE y.npy [f32|assay1]\n"), 2;
  const char *contract = argc > 3 ? argv[3] : "f32";
  char path[4096];
  long count, wanted, limits;
  float *y = load(argv[2], &count);
  snprintf(path, sizeof path, "%s/expected.%s.npy", argv[1], contract);
  float *expected = load(path, &wanted);
  snprintf(path, sizeof path, "%s/tolerance.%s.npy", argv[1], contract);
  float *tolerance = load(path, &limits);
  if (count != wanted || wanted != limits)
    return fprintf(stderr, "%s has %ld values, the case %ld\n", argv[2], count, wanted), 2;
  for (long i = 0; i < count; ++i)
    if (!(fabs((double)y[i] - expected[i]) <= tolerance[i]))  // NaN fails
      return printf("FAIL %s: element %ld is %.9g, expected %.9g +- %.3g\n", argv[1], i, y[i], expected[i], tolerance[i]), 1;
  return printf("PASS %s: %ld elements\n", argv[1], count), 0;
}
)file";

constexpr std::string_view rust =
    R"file(// Checks a kernel's output (.npy, float32, C order) against a case of this kit.
//   rustc load.rs && ./load blk.0.q y.npy [f32|assay1]       exit code: 0 PASS, 1 FAIL, 2 cannot
use std::{env, fs, process::exit};

fn cannot(why: String) -> ! {
    eprintln!("{why}");
    exit(2)
}

fn load(path: &str) -> Vec<f32> {
    let bytes = fs::read(path).unwrap_or_else(|error| cannot(format!("{path}: {error}")));
    if bytes.len() < 10 || !bytes.starts_with(b"\x93NUMPY\x01") {
        cannot(format!("{path}: not a .npy file of version 1.0"));
    }
    let start = (10 + bytes[8] as usize + 256 * bytes[9] as usize).min(bytes.len());
    if !String::from_utf8_lossy(&bytes[10..start]).contains("'<f4', 'fortran_order': False") {
        cannot(format!("{path}: not float32 in C order"));
    }
    bytes[start..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    if arguments.len() < 3 {
        cannot("load CASE y.npy [f32|assay1]".into());
    }
    let (case, contract) = (&arguments[1], arguments.get(3).map_or("f32", String::as_str));
    let y = load(&arguments[2]);
    let expected = load(&format!("{case}/expected.{contract}.npy"));
    let tolerance = load(&format!("{case}/tolerance.{contract}.npy"));
    if y.len() != expected.len() || y.len() != tolerance.len() {
        cannot(format!("{} has {} values, the case {}", arguments[2], y.len(), expected.len()));
    }
    for i in 0..y.len() {
        let error = (y[i] as f64 - expected[i] as f64).abs();
        if error.is_nan() || error > tolerance[i] as f64 {
            println!("FAIL {case}: element {i} is {:e}, expected {:e} +- {:e}", y[i], expected[i], tolerance[i]);
            exit(1);
        }
    }
    println!("PASS {case}: {} elements", y.len());
}
)file";

constexpr std::string_view swift =
    R"file(// Checks a kernel's output (.npy, float32, C order) against a case of this kit.
//   swiftc load.swift && ./load blk.0.q y.npy [f32|assay1]       exit code: 0 PASS, 1 FAIL, 2 cannot
import Foundation

func cannot(_ why: String) -> Never {
  FileHandle.standardError.write((why + "\n").data(using: .utf8)!)
  exit(2)
}

func load(_ path: String) -> [Float] {
  guard let data = FileManager.default.contents(atPath: path) else { cannot("\(path): cannot be read") }
  let bytes = [UInt8](data)
  let magic: [UInt8] = [0x93, 0x4E, 0x55, 0x4D, 0x50, 0x59, 1]  // "\x93NUMPY", version 1
  guard bytes.count >= 10, bytes.starts(with: magic) else { cannot("\(path): not a .npy file of version 1.0") }
  let start = min(bytes.count, 10 + Int(bytes[8]) + 256 * Int(bytes[9]))
  let header = String(decoding: bytes[10..<start], as: UTF8.self)
  guard header.contains("'<f4', 'fortran_order': False") else { cannot("\(path): not float32 in C order") }
  return stride(from: start, to: bytes.count - 3, by: 4).map { (at: Int) -> Float in
    let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[at + $1]) << UInt32(8 * $1) }
    return Float(bitPattern: bits)
  }
}

let arguments = CommandLine.arguments
if arguments.count < 3 { cannot("load CASE y.npy [f32|assay1]") }
let contract = arguments.count > 3 ? arguments[3] : "f32"
let y = load(arguments[2])
let expected = load("\(arguments[1])/expected.\(contract).npy")
let tolerance = load("\(arguments[1])/tolerance.\(contract).npy")
if y.count != expected.count || y.count != tolerance.count {
  cannot("\(arguments[2]) has \(y.count) values, the case \(expected.count)")
}
for i in 0..<y.count where !(abs(Double(y[i]) - Double(expected[i])) <= Double(tolerance[i])) {  // NaN fails
  print("FAIL \(arguments[1]): element \(i) is \(y[i]), expected \(expected[i]) +- \(tolerance[i])")
  exit(1)
}
print("PASS \(arguments[1]): \(y.count) elements")
)file";

constexpr std::string_view python =
    R"file("""Checks a kernel's output (.npy) against a case of this kit.
    python load.py blk.0.q y.npy [f32|assay1]       exit code: 0 PASS, 1 FAIL, 2 cannot
"""
import pathlib
import sys

import numpy


def check(case, y, contract="f32"):
    """None where y is right, else the first element that is not: (index, y, expected, tolerance)."""
    expected = numpy.load(pathlib.Path(case) / f"expected.{contract}.npy")
    tolerance = numpy.load(pathlib.Path(case) / f"tolerance.{contract}.npy")
    y = numpy.asarray(y).reshape(expected.shape)
    wrong = numpy.argwhere(~(abs(y.astype("f8") - expected.astype("f8")) <= tolerance))  # NaN fails
    at = tuple(wrong[0].tolist()) if len(wrong) else None
    return at and (at, y[at], expected[at], tolerance[at])


if __name__ == "__main__":
    try:
        found = check(sys.argv[1], numpy.load(sys.argv[2]), *sys.argv[3:4])
    except (IndexError, OSError, ValueError) as error:
        sys.exit(print(f"load.py CASE y.npy [f32|assay1]: {error}", file=sys.stderr) or 2)
    print("FAIL {}: element {} is {}, expected {} +- {}".format(sys.argv[1], *found) if found else f"PASS {sys.argv[1]}")
    sys.exit(1 if found else 0)
)file";

constexpr std::string_view readme_begin = R"file(# Unit tests for the kernels of a language model

Every folder is one operation of a real run: what it read, what it must give, and how far off each element may be. A kernel
is right where `|y - expected| <= tolerance` for every element. `manifest.json` (schema assay.kit/1) lists the cases with
their parameters; arrays are .npy, little-endian, C order.

    blk.0.q/input0.npy              (tokens, columns) f4: what the operation reads
    blk.0.q/weight.npy              (rows, columns) f4: the weight's first rows, decoded
    blk.0.q/weight_raw.npy          (rows, bytes of a row) u1: the same rows as the GGUF file has them
    blk.0.q/expected.f32.npy        (tokens, rows) f4: the f64 result, rounded once
    blk.0.q/tolerance.f32.npy       the same shape: the derived limit, absolute
    blk.0.q/expected.assay1.npy     where the contract assay/1 asks for something else: int8 activations, f16 cache

Of experts a case has those that its tokens use (`experts_taken`), the first rows of each one after another; the ids in its routing count
these. A routing is a row of ids, then of weights.

| kind | y |
|---|---|
)file";

constexpr std::string_view readme_end = R"file(
Run your kernel on the inputs, write y as float32 .npy, and compare:

    python load.py blk.0.q y.npy
    cc load.c -o load -lm && ./load blk.0.q y.npy
    rustc load.rs && ./load blk.0.q y.npy
    swiftc load.swift && ./load blk.0.q y.npy

`f32` is for kernels that take activations as they are. A kernel that rounds them to integers first keeps another contract:
`assay1` if it rounds as that says; for others `assay check` tells which contract it keeps, and what is wrong where it keeps none.
)file";

constexpr std::array list = {Loader{"load.c", c}, Loader{"load.rs", rust},
                             Loader{"load.swift", swift}, Loader{"load.py", python}};

}  // namespace

std::span<const Loader> loaders() {
  return list;
}

std::string kit_readme() {
  std::string text(readme_begin);
  for (const std::string_view name : op::kind_names()) {
    const op::Parameters of = *op::parameters_named(name);
    if (!op::row_of(of).moves) text += fmt::format("| {} | {} |\n", name, op::formula_of(of));
  }
  return text += readme_end;
}

}  // namespace assay::check
