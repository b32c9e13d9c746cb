# The two commands that matter: `make run` and `make test`. Everything else is a part of them.
# Works with GNU make 3.81, the one macOS has.

SHELL := /bin/bash
PROMPT ?= The capital of France is

ifneq ($(shell command -v ccache 2>/dev/null),)
export CMAKE_CXX_COMPILER_LAUNCHER ?= ccache
endif
# Homebrew keeps OpenSSL out of the default search path.
ifeq ($(shell uname -s),Darwin)
export OPENSSL_ROOT_DIR ?= $(shell brew --prefix openssl@3 2>/dev/null)
export CMAKE_PREFIX_PATH ?= $(shell brew --prefix 2>/dev/null)
endif

.DEFAULT_GOAL := help
.PHONY: help run build model install test test-all test-torch dev format format-check tidy mutate fuzz bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

run: build model ## from a fresh machine to an answer: install, build, fetch the model, generate
	@build/release/assay run --device auto -p "$(PROMPT)" --temp 0 -n 16 --stop $$'\n'

build: install ## build/release/assay
	@test -f build/release/build.ninja || cmake --preset release
	@cmake --build build/release --target assay

install: ## what the build needs, by apt or Homebrew
	@scripts/install.sh

model: ## fetch the default model into the cache and check its SHA-256
	@python3 scripts/fetch_model.py

test: ## build and run every test, with a budget per part
	@start=$$(date +%s) && scripts/install.sh test && python3 scripts/test.py --started $$start

test-all: ## the same with the slow sweeps and the mutations
	@start=$$(date +%s) && scripts/install.sh test && scripts/install.sh fuzz && \
	  ASSAY_SLOW=1 python3 scripts/test.py --all --started $$start

test-torch: ## small random models against transformers in float64 (5.6 GB of packages in .venv-torch)
	@start=$$(date +%s); { $(MAKE) --no-print-directory build && scripts/install.sh torch; } || { \
	  echo "failed: assay could not be built, or torch could not be installed"; \
	  echo "0 passed, 1 failed, 0 skipped"; exit 1; }; \
	  .venv-torch/bin/python tests/torch/live.py --started $$start

dev: ## sanitizers, warnings as errors, format, include table, fast tests
	@scripts/install.sh test
	@python3 scripts/format.py --check
	@python3 scripts/check_includes.py
	@test -f build/dev/build.ninja || cmake --preset dev
	@cmake --build build/dev
	@ctest --preset dev

format: ## rewrite the C++ files with the pinned clang-format
	@scripts/install.sh test
	@python3 scripts/format.py

format-check:
	@scripts/install.sh test
	@python3 scripts/format.py --check

tidy: ## clang-tidy over src/ and cli/ (needs clang-tidy)
	@test -f build/release/build.ninja || cmake --preset release
	@clang-tidy -p build/release --quiet $(shell find src cli -name '*.cpp' 2>/dev/null)

mutate: ## apply each line of tests/mutations/list.txt; a named test must fail (ONLY=src/gguf for a part)
	@scripts/install.sh test
	@python3 scripts/mutate.py $(if $(ONLY),--only $(ONLY))

fuzz: ## fuzz the parsers of hostile input with clang's libFuzzer (FUZZ_SECONDS=60 a target)
	@scripts/install.sh fuzz
	@python3 scripts/fuzz.py --seconds $(or $(FUZZ_SECONDS),60)

bench: build model ## speed of prompt and generation on this machine
	@build/release/assay bench

clean: ## remove build/ (the cache with the model and .venv stay)
	@rm -rf build
