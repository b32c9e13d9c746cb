#!/usr/bin/env python3
"""Builds the command line with the Metal device for arm64 macOS, on Linux, and reads what the linker left open.

The compiler is zig and the headers are metal-cpp, both out of wheels on PyPI (fetch_wheel.py); CMake's preset is
metal-cross. There is no SDK here, so Apple's frameworks and three libraries are names to the linker, and their symbols
are looked up when the program starts. Each must be one that such a library is known to have. Exit: 0 the program is
whole, 1 it is not, 77 PyPI cannot be reached, or this is not Linux on x86_64 (a skip).
"""
import argparse
import json
import pathlib
import platform
import re
import shlex
import subprocess
import sys

import embed_kernels
import fetch_wheel
import macho

ROOT = fetch_wheel.ROOT
BUILD = ROOT / "build/metal-cross"
PREFIX = ROOT / "build/metal-cross-prefix"
TARGET = "aarch64-macos.13.0"
SKIPPED = 77
FRAMEWORK = "/System/Library/Frameworks/{0}.framework/Versions/A/{0}"
OBJECTIVE_C = "/usr/lib/libobjc.A.dylib"  # Foundation loads it
# Which symbols each library is there for.
LIBRARIES = {
    FRAMEWORK.format("Metal"): r"_MTL[A-Z]\w+",
    FRAMEWORK.format("Foundation"): r"_NS[A-Z]\w+|_OBJC_CLASS_\$_NS\w+",
    OBJECTIVE_C: r"_objc_\w+|_sel_registerName|_class_\w+",
    "/usr/lib/libedit.3.dylib": r"__?el_\w+|_history\w*",
    "/opt/homebrew/opt/openssl@3/lib/libcrypto.3.dylib": r"_EVP_\w+",
    "/opt/homebrew/opt/pcre2/lib/libpcre2-8.0.dylib": r"_pcre2_\w+_8",
    "/opt/homebrew/opt/utf8proc/lib/libutf8proc.3.dylib": r"_utf8proc_\w+",
    "/opt/homebrew/opt/yaml-cpp/lib/libyaml-cpp.0.8.dylib": r"__Z\w+4YAML\w+",
}
SYSTEM = "/usr/lib/libSystem.B.dylib"
HEADERS = ("fmt", "CLI", "nlohmann", "openssl", "pcre2.h", "utf8proc.h", "histedit.h", "yaml-cpp")
# What CMakeLists.txt adds for every source; with others, clang refuses headers.pch.
LANGUAGE = ["-std=c++20", "-ffp-contract=off", "-fno-fast-math", "-DFMT_HEADER_ONLY", "-isystem", PREFIX / "include"]
PACKAGES = {  # CMake packages of headers alone: the target that they define
    "fmt": "fmt::fmt fmt::fmt-header-only", "CLI11": "CLI11::CLI11", "nlohmann_json": "nlohmann_json::nlohmann_json",
}


def say(text):
    print(f"metal-cross: {text}", file=sys.stderr, flush=True)


def write(path, text, mode=0o644):
    """Leaves an equal file untouched, so that nothing is built again for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
    path.chmod(mode)


def make_compilers(zig, cache):
    caches = f"export ZIG_GLOBAL_CACHE_DIR='{cache}/zig' ZIG_LOCAL_CACHE_DIR='{cache}/zig'\n"
    for name, command in (("cc", f"cc -target {TARGET}"), ("c++", f"c++ -target {TARGET}"), ("ar", "ar"),
                          ("ranlib", "ranlib"), ("none", "version")):
        write(PREFIX / "bin" / name, f"#!/bin/sh\n{caches}exec '{zig}' {command} \"$@\"\n", 0o755)


def link_headers():
    """Headers that are the same for every system, without the system's own beside them."""
    for name in HEADERS:
        wanted = pathlib.Path("/usr/include") / name
        if not wanted.exists():
            raise fetch_wheel.FetchError(f"{wanted} is missing; run scripts/install.sh")
        found = PREFIX / "include" / name
        found.parent.mkdir(parents=True, exist_ok=True)
        if name == "openssl":  # Debian keeps two of its headers apart
            for part in [*wanted.iterdir(), *pathlib.Path("/usr/include").glob("*-linux-gnu/openssl/*.h")]:
                link(found / part.name, part)
        else:
            link(found, wanted)


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_symlink():
        path.symlink_to(target)


def describe_libraries():
    """Text stubs, by which the linker knows that a library is to be loaded."""
    for install_name in LIBRARIES:
        if install_name == OBJECTIVE_C:
            continue
        name = pathlib.PurePosixPath(install_name).name
        text = ("--- !tapi-tbd\ntbd-version: 4\ntargets: [ arm64-macos ]\n"
                f"install-name: '{install_name}'\nexports: []\n...\n")
        if "/Frameworks/" in install_name:
            write(PREFIX / f"frameworks/{name}.framework/{name}.tbd", text)
        else:
            write(PREFIX / "lib" / (name.split(".")[0] + ".tbd"), text)
    for package, targets in PACKAGES.items():
        lines = [f"add_library({target} INTERFACE IMPORTED)\n"
                 f"target_include_directories({target} INTERFACE ${{CMAKE_CURRENT_LIST_DIR}}/../../../include)\n"
                 for target in targets.split()]
        if package == "fmt":
            lines += [f"target_compile_definitions({target} INTERFACE FMT_HEADER_ONLY)\n" for target in targets.split()]
        write(PREFIX / f"lib/cmake/{package}/{package}Config.cmake", "".join(lines))


def preset_flags():
    """What the preset gives the compiler, and what it gives the linker (without headers.o)."""
    presets = json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]
    variables = next(preset for preset in presets if preset["name"] == "metal-cross")["cacheVariables"]
    flags = [shlex.split(variables[name].replace("${sourceDir}", str(ROOT)))
             for name in ("CMAKE_CXX_FLAGS", "CMAKE_EXE_LINKER_FLAGS")]
    return flags[0], [flag for flag in flags[1] if not flag.endswith(".o")]


def start_standard_library(compiler, linker):
    """zig compiles libc++ when it first links, on one core: a program of nothing is linked beside all else."""
    empty = PREFIX / "empty.cpp"
    write(empty, "int main() {}\n")
    return subprocess.Popen([PREFIX / "bin/c++", *compiler, empty, *linker, "-o", PREFIX / "empty"])


def precompile_headers(compiler):
    """headers.pch, which every source begins with, and headers.o with the code of what is inline in it.

    Most of the time would go into reading nlohmann/json, fmt and CLI11 again and compiling what sources use of them.
    An equal headers.pch stays untouched; it names no times of files, so that zig may take it out of its cache.
    """
    command = [PREFIX / "bin/c++", *compiler, *LANGUAGE]
    headers, made = PREFIX / "headers.pch", PREFIX / "made.pch"
    subprocess.run([*command, "-fpch-instantiate-templates", "-fpch-codegen", "-Xclang", "-fno-pch-timestamp", "-x",
                    "c++-header", ROOT / "cmake/metal-cross/headers.h", "-o", made], check=True)
    if not headers.exists() or headers.read_bytes() != made.read_bytes():
        subprocess.run([*command, "-c", made, "-o", PREFIX / "headers.o"], check=True)
        made.replace(headers)


def build():
    zig = fetch_wheel.fetch("zig") / "zig"
    metal_cpp = fetch_wheel.fetch("metal-cpp")
    make_compilers(zig, fetch_wheel.cache_folder())
    link_headers()
    describe_libraries()
    compiler, linker = preset_flags()
    with start_standard_library(compiler, linker) as standard_library:
        precompile_headers(compiler)
        for command in (["cmake", "--preset", "metal-cross", f"-DASSAY_METAL_CPP={metal_cpp}"],
                        ["cmake", "--build", "--preset", "metal-cross"]):
            subprocess.run(command, cwd=ROOT, check=True)
    if standard_library.returncode != 0:
        raise subprocess.CalledProcessError(standard_library.returncode, standard_library.args)


def library_of(symbol):
    """The library that an undefined symbol belongs to; None where none is known to have it."""
    if symbol.library == SYSTEM:
        return SYSTEM
    for library, pattern in LIBRARIES.items():
        if re.fullmatch(pattern, symbol.name):
            return library
    return None


def errors_of(program, texts):
    """What keeps the program from being the one that is wanted: one sentence each."""
    errors = []
    if program.machine != macho.ARM64 or program.kind != "program":
        errors.append(f"a {program.kind} for machine {program.machine:#x}, not a program for arm64")
    errors += [f"no library is known to have {symbol.name}" for symbol in program.undefined()
               if library_of(symbol) is None]
    used = {library_of(symbol) for symbol in program.undefined()}
    errors += [f"{library} is not loaded" for library in LIBRARIES
               if library in used and library not in program.libraries and library != OBJECTIVE_C]
    data = b"".join(program.sections.values())
    errors += [f"the text of {name} is not in it" for name, text in texts.items() if text.encode() not in data]
    return errors


def print_table(program):
    counts = {}
    for symbol in program.undefined():
        counts.setdefault(library_of(symbol) or "unknown", []).append(symbol)
    for library, symbols in sorted(counts.items()):
        weak = sum(symbol.weak for symbol in symbols)
        print(f"{len(symbols):5} {library}" + (f" ({weak} may be absent)" if weak else ""))


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--symbols", action="store_true", help="list every undefined symbol")
    parser.add_argument("--check", metavar="FILE", help="judge this program and build none")
    options = parser.parse_args(arguments)
    if not options.check and (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        say("skipped: it builds on Linux for x86_64 only")
        return SKIPPED
    try:
        if not options.check:
            build()
        path = pathlib.Path(options.check or BUILD / "assay")
        program = macho.parse(path.read_bytes())
        texts = {name: embed_kernels.metal_text(name) for name in embed_kernels.kernel_files()}
    except fetch_wheel.Unreachable as error:
        say(f"skipped: {error}")
        return SKIPPED
    except (fetch_wheel.FetchError, embed_kernels.CannotEmbed, OSError, macho.NotMachO, subprocess.CalledProcessError) as error:
        say(f"error: {error}")
        return 1
    errors = errors_of(program, texts)
    print(f"{path}: {path.stat().st_size} bytes, {program.kind} for arm64 macOS {program.least_system}, "
          f"{len(texts)} kernel texts; undefined symbols by library:")
    print_table(program)
    if options.symbols:
        for symbol in sorted(program.undefined(), key=lambda symbol: symbol.name):
            print(f"{symbol.name} {library_of(symbol)}")
    for error in errors:
        print(f"error: {error}")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
