# webgateway: build, try, check.
CARGO ?= cargo

.PHONY: dev sim bench-api soak optimised fuzz test lint graph baselines audit build release needs interop

# Starts everything on loopback, creates two routes, requests both, and runs until Ctrl-C; ONCE=1 ends there.
# ACME=1 gets the certificates over ACME from a test CA on loopback, Let's Encrypt's pebble.
dev: build
	@if [ -n "$(ACME)" ] && ! command -v pebble >/dev/null; then \
	    echo "make dev ACME=1 needs the command pebble: sudo apt-get install pebble" >&2; exit 1; fi
	@target/debug/webgateway-dev $(if $(ONCE),--once) $(if $(ACME),--acme)

# Plays nodes against a real controlplane and prints what a change and a sync take, e.g.
# make sim SIM="--nodes 100 --routes 1000000". It needs optimised binaries, not the slowest to build.
sim: optimised
	target/sim/release/webgateway-sim $(SIM)

# Asks the API of a real controlplane at a fixed rate, and prints how long the answers take, e.g.
# make bench-api ROUTES=1000000 SECONDS=10 BENCH="--reads 4000"
bench-api: optimised
	target/sim/release/webgateway-bench --routes $(or $(ROUTES),1000000) --seconds $(or $(SECONDS),10) $(BENCH)

# Puts honest and hostile load and changing routes on both processes, and fails unless they hold as much at its end as
# at its start, e.g. make soak SOAK="--minutes 20"
soak: optimised
	target/sim/release/webgateway-soak $(SOAK)

optimised:
	CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_STRIP=none \
	    $(CARGO) build --workspace --locked --release --target-dir target/sim

# Runs fuzz targets guided by coverage: each for SECONDS, or TARGET alone, e.g. make fuzz TARGET=hello SECONDS=300. What
# breaks a property is named and kept in target/fuzz/found. No nightly toolchain and no other tool is needed. The
# folders of temporary files are the memory's, as the target `envelope` has a database there.
FUZZ_FLAGS = --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares
FUZZ_HOST = $(shell rustc -vV | sed -n 's/^host: //p')
fuzz:
	@if ! command -v c++ >/dev/null; then \
	    echo "make fuzz needs a C++ compiler: sudo apt-get install g++" >&2; exit 1; fi
	RUSTFLAGS="$(FUZZ_FLAGS)" $(CARGO) build --locked -p webgateway-fuzz --profile fuzz --target $(FUZZ_HOST) --target-dir target/fuzz
	@for target in $(or $(TARGET),$(notdir $(wildcard tests/fuzz/corpora/*))); do \
	    mkdir -p target/fuzz/corpora/$$target target/fuzz/found && echo "== $$target" && \
	    WEBGATEWAY_FUZZ=$$target TMPDIR=$$([ -d /dev/shm ] && echo /dev/shm || echo $${TMPDIR:-/tmp}) \
	    target/fuzz/$(FUZZ_HOST)/fuzz/webgateway-fuzz -max_total_time=$(or $(SECONDS),60) -timeout=10 -verbosity=1 \
	        -print_final_stats=1 -artifact_prefix=target/fuzz/found/$$target- $(FUZZ) \
	        target/fuzz/corpora/$$target tests/fuzz/corpora/$$target || exit 1; \
	done

# The scenarios run the binaries, so these are built first.
test: needs interop build
	$(CARGO) test --workspace --locked

build:
	$(CARGO) build --workspace --locked

release:
	$(CARGO) build --workspace --exclude webgateway-tests --locked --release

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	@found=$$($(CARGO) tree --workspace --locked -e normal,build --prefix none \
	    | grep -E '^(ring|openssl|openssl-sys|native-tls|rsa) v' | sort -u); \
	if [ -n "$$found" ]; then echo "these must not be in the build:"; echo "$$found"; exit 1; fi; \
	echo "no ring, openssl or rsa in the build"

# Prints what each module of each crate imports, re-exports resolved.
graph:
	@mkdir -p target && GRAPH=$(CURDIR)/target/graph.txt \
	    $(CARGO) test -q -p webgateway-tests --locked --test layers every_crate_has_a_graph >&2 && cat target/graph.txt

# Rewrites the lists of findings that the house rules still allow, tests/tests/layers/*.txt, except the known cycles.
baselines:
	UPDATE=1 $(CARGO) test -q -p webgateway-tests --locked --test layers

audit:
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny --workspace check licenses bans sources; \
	else echo "make audit needs cargo-deny: cargo install --locked cargo-deny" >&2; exit 1; fi

# Third-party clients of the API, for the interop scenarios. Where python3 or node is missing, their scenarios are left out.
# What is complete says what it was installed for, so that another list is installed anew.
interop:
	@mkdir -p target/interop && cp tests/interop/*.mjs tests/interop/package.json tests/interop/requirements.txt target/interop/
	@cd target/interop && if cmp -s requirements.txt venv/complete; then :; \
	elif rm -rf venv && python3 -m venv venv 2>/dev/null && venv/bin/pip -q --disable-pip-version-check install \
	    -r requirements.txt; then cp requirements.txt venv/complete; \
	else rm -rf venv; echo "the scenario of the Python client is left out: it needs python3-venv and PyPI"; fi
	@cd target/interop && if cmp -s package.json node_modules/complete; then :; \
	elif command -v npm >/dev/null && rm -rf node_modules && npm install --silent --no-audit --no-fund; \
	then cp package.json node_modules/complete; \
	else rm -rf node_modules; echo "the scenarios of the Node clients are left out: they need npm and its registry"; fi

# The scenarios put addresses on a loopback of their own with `ip`, and get certificates from `pebble`.
needs:
	@for need in ip:iproute2 pebble:pebble script:bsdutils; do \
	    command -v "$${need%:*}" >/dev/null || missing="$$missing $${need#*:}"; done; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo=sudo; \
	else echo "make test needs more: sudo apt-get install$$missing" >&2; exit 1; fi; \
	$$sudo apt-get update -q && $$sudo apt-get install -qy --no-install-recommends $$missing
