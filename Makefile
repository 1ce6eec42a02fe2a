# Every entry to the project for people; `.ci/run` is the one for machines.
#
# One profile (release) everywhere. RocksDB, which takes minutes to compile, is compiled once into a
# folder of its own (`.ci/rocksdb`), and build, test, clippy, doc and the fuzz targets link it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Outlives the checkout, so that a fresh clone does not compile RocksDB again.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/quipu/target
# rustup's default place, for shells that have not been restarted since it was installed.
export PATH := $(PATH):$(HOME)/.cargo/bin

CARGO ?= cargo
SELECT := --release --workspace --locked
# Evaluated by the recipes, after `deps` has seen to what compiling RocksDB needs.
ROCKSDB = lib="$$(.ci/rocksdb)"; export ROCKSDB_LIB_DIR="$$lib" ROCKSDB_STATIC=1;
QUIPU := $(CARGO_TARGET_DIR)/release/quipu

NIGHTLY ?= nightly
CARGO_FUZZ_VERSION := 0.13.2
FUZZ_TARGET_DIR ?= $(HOME)/.cache/quipu/fuzz-target
FUZZ_SECONDS ?= 10
FUZZ_PURE := event body car cut history peer proof certificate note consensus
FUZZ_STORE := store_ops start

.PHONY: help deps build test demo bench fmt lint lint-deploy doc fuzz-deps fuzz-smoke fuzz-store soak clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

deps: ## Install what the build needs (libclang, a C++ compiler), or say what to install
	@.ci/deps

build: deps ## Build the binary `quipu`
	$(ROCKSDB) $(CARGO) build $(SELECT) --bin quipu
	@echo "built $(QUIPU)"

test: deps ## Run every test
	$(ROCKSDB) $(CARGO) test $(SELECT)

demo: build ## Replicas of real data diverge, merge, travel in time, fork, recover; real trees are stored and restored; three daemons are cut off from each other and heal; four certify, and a stranger checks a proof
	demo/run.sh "$(QUIPU)"
	demo/sources.sh "$(QUIPU)"
	demo/nodes.sh "$(QUIPU)"
	demo/checkpoints.sh "$(QUIPU)"

bench: build ## Run the benchmarks; each prints its ratio to a baseline measured in the same run
	$(ROCKSDB) $(CARGO) bench --locked --workspace --benches
	demo/versions.sh "$(QUIPU)"

fmt: ## Format the code
	$(CARGO) fmt --all

lint: deps ## Check the format and run clippy; warnings are errors
	$(CARGO) fmt --all --check
	$(ROCKSDB) $(CARGO) clippy $(SELECT) --all-targets -- -D warnings

lint-deploy: build ## Check what operators are given: units, containers, manifests, configuration
	.ci/deploy "$(QUIPU)"

doc: deps ## Build the API documentation; warnings are errors
	$(ROCKSDB) RUSTDOCFLAGS="-D warnings" $(CARGO) doc $(SELECT) --no-deps

fuzz-deps: deps
	@rustup run $(NIGHTLY) rustc --version >/dev/null 2>&1 || rustup toolchain install $(NIGHTLY) --profile minimal
	@[[ "$$($(CARGO) fuzz --version 2>/dev/null)" == "cargo-fuzz $(CARGO_FUZZ_VERSION)" ]] \
		|| $(CARGO) install cargo-fuzz --locked --version $(CARGO_FUZZ_VERSION)

define fuzz
$(ROCKSDB) export CARGO_TARGET_DIR="$(FUZZ_TARGET_DIR)"; \
for target in $(1); do \
	echo "fuzzing $$target for $(FUZZ_SECONDS) s"; \
	mkdir -p "$(FUZZ_TARGET_DIR)/corpus/$$target"; \
	$(CARGO) +$(NIGHTLY) fuzz run --fuzz-dir fuzz --target-dir "$(FUZZ_TARGET_DIR)" --features $(2) $$target \
		"$(FUZZ_TARGET_DIR)/corpus/$$target" $$([[ ! -d fuzz/corpus/$$target ]] || echo fuzz/corpus/$$target) \
		-- -max_total_time=$(FUZZ_SECONDS) -timeout=20 -rss_limit_mb=2048 -print_final_stats=1; \
done
endef

# What a run finds new goes to a corpus outside the checkout: libFuzzer writes to the first folder
# it is given and only reads the others, which hold the seeds.
fuzz-smoke: fuzz-deps ## Run each pure fuzz target for FUZZ_SECONDS (10)
	@$(call fuzz,$(FUZZ_PURE),targets)

fuzz-store: fuzz-deps build ## Run each fuzz target that needs a store for FUZZ_SECONDS (10)
	@$(call fuzz,$(FUZZ_STORE),store)

# The counts of docs/testing.md; any of them can be set to something else. What cannot be tried on
# this machine says so in a line that begins with SKIPPED.
soak: export QUIPU_KILLS ?= 5000
soak: export QUIPU_FLIPS ?= 20000
soak: export QUIPU_REPAIRS ?= 20000
soak: export QUIPU_POWER_LOSSES ?= 2000
soak: export QUIPU_FULL_DISKS ?= 50
soak: export QUIPU_CALLS ?= all
soak: export QUIPU_SEEDS ?= 200000
soak: export QUIPU_FAULT_PAIRS ?= all
soak: deps ## Kill, cut, flip, fail and fill for hours; nothing acknowledged may be lost
	$(ROCKSDB) $(CARGO) test --release --locked -p quipu-store --test crash --test faults -- --nocapture
	$(ROCKSDB) $(CARGO) test --release --locked -p quipu-cli --test network -- --nocapture
	for nodes in 100 1000; do \
		QUIPU_NODES=$$nodes $(CARGO) test --release --locked -p quipu-proto --test sim many -- --nocapture || exit 1; \
	done
	$(CARGO) test --release --locked -p quipu-proto --test sim honest -- --nocapture
	$(CARGO) test --release --locked -p quipu-proto --test certify validators_agree -- --nocapture

clean: ## Remove what was built (the next build compiles RocksDB again)
	rm -rf "$(CARGO_TARGET_DIR)" "$(FUZZ_TARGET_DIR)"
