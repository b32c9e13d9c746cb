#!/usr/bin/env bash
# Installs what the build needs and is missing: apt on Debian and Ubuntu, Homebrew on macOS.
# `install.sh test` also makes .venv with the pinned Python packages of the tests and installs the clang of msl-check;
# `install.sh fuzz` adds clang's libFuzzer; `install.sh torch` makes .venv-torch for `make test-torch`.
# A call with nothing to do costs well under a second. ASSAY_SKIP_INSTALL=1 leaves the system alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

apt_packages="cmake ninja-build pkg-config libcli11-dev nlohmann-json3-dev libfmt-dev libpcre2-dev libutf8proc-dev
  libyaml-cpp-dev libedit-dev libssl-dev libgtest-dev libgmock-dev python3 python3-venv python3-pip ca-certificates"
brew_packages="cmake ninja pkgconf cli11 nlohmann-json fmt pcre2 utf8proc yaml-cpp openssl@3 googletest python"
# Apple's clang has no libFuzzer; Homebrew's llvm does.
if [ "${1:-}" = fuzz ]; then
  apt_packages="$apt_packages clang"
  # Debian keeps the sanitizers' libraries apart.
  if apt-cache show libclang-rt-14-dev >/dev/null 2>&1; then apt_packages="$apt_packages libclang-rt-14-dev"; fi
  brew_packages="$brew_packages llvm"
fi

say() { echo "install: $*" >&2; }
fail() { say "$*"; exit 1; }

install_with_apt() {
  command -v c++ >/dev/null || apt_packages="g++ $apt_packages"
  local missing="" package
  local present
  # One query for all; it prints the packages it knows and complains about the rest.
  # shellcheck disable=SC2086
  present=$(dpkg-query -W -f '${Package} ${db:Status-Status}\n' $apt_packages 2>/dev/null || true)
  for package in $apt_packages; do
    grep -qx "$package installed" <<<"$present" || missing="$missing $package"
  done
  [ -z "$missing" ] && return
  local sudo=""
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || fail "not root and no sudo; as root run: apt-get install$missing"
    sudo="sudo"
  fi
  say "apt-get install$missing"
  $sudo apt-get update -q ||
    say "apt-get update failed; trying with the package lists that are here"
  # shellcheck disable=SC2086
  $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $missing ||
    fail "apt-get could not install:$missing. Is the network there? Install them by hand, then repeat."
}

install_with_brew() {
  command -v brew >/dev/null || fail "Homebrew is missing; see https://brew.sh, then repeat."
  command -v c++ >/dev/null || fail "no C++ compiler; run xcode-select --install, then repeat."
  local installed missing="" package
  installed=$(HOMEBREW_NO_AUTO_UPDATE=1 brew list --formula -1)
  for package in $brew_packages; do
    # "python" is an alias: any python@3.x will do, as will a python3 from elsewhere.
    [ "$package" = python ] && command -v python3 >/dev/null && continue
    grep -qx "$package" <<<"$installed" || missing="$missing $package"
  done
  [ -z "$missing" ] && return
  say "brew install$missing"
  # shellcheck disable=SC2086
  brew install $missing || fail "brew could not install:$missing"
}

# msl-check wants a clang of 16 or newer; without one it is skipped, and counted. On macOS Homebrew's llvm serves if it
# is there.
install_clang_with_apt() {
  local version sudo=""
  for version in 16 17 18 19 20 21 22; do
    command -v "clang++-$version" >/dev/null && return
  done
  [ "$(id -u)" = 0 ] || sudo="sudo"
  for version in 16 17 18 19 20 21 22; do
    apt-cache show "clang-$version" >/dev/null 2>&1 || continue
    say "apt-get install clang-$version"
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "clang-$version" && return
  done
  say "no clang of 16 or newer could be installed; msl-check will be skipped"
}

# install_python_packages VENV REQUIREMENTS. The venv holds a mark with the hash of the requirements that it was made from.
install_python_packages() {
  local wanted have
  wanted=$(cksum < "$2")
  have=$(cat "$1/assay-requirements" 2>/dev/null || true)
  [ "$wanted" = "$have" ] && return
  say "Python packages of $2 into $1"
  [ -x "$1/bin/pip" ] || python3 -m venv "$1" || fail "python3 -m venv failed (python3-venv missing?)"
  "$1/bin/pip" install -q --disable-pip-version-check -r "$2" >&2 ||
    fail "pip could not install $2. Is PyPI reachable? Behind a mirror set PIP_INDEX_URL."
  echo "$wanted" > "$1/assay-requirements"
}

if [ "${ASSAY_SKIP_INSTALL:-}" != 1 ]; then
  if [ "$(uname -s)" = Darwin ]; then
    install_with_brew
  elif command -v apt-get >/dev/null; then
    install_with_apt
    if [ "${1:-}" = test ]; then install_clang_with_apt; fi
  else
    fail "only apt and Homebrew are known here. Install a C++20 compiler, cmake >= 3.22, ninja, CLI11," \
      "nlohmann-json, fmt, pcre2, utf8proc, yaml-cpp, OpenSSL, GoogleTest and python3 by hand, then repeat with ASSAY_SKIP_INSTALL=1."
  fi
fi
if [ "${1:-}" = test ]; then install_python_packages .venv scripts/requirements.txt; fi
if [ "${1:-}" = torch ]; then install_python_packages .venv-torch tests/torch/requirements.txt; fi
