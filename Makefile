# `make test` needs Rust (with rustfmt and clippy), Python 3.11 and curl; it installs the rest into
# target/. Where Chromium and Prometheus are installed, it uses them, too.

CLIENTS := 0.2.0 0.5.13
VENVS := $(CLIENTS:%=target/venv-%)
PUBLISHED := tests/published_clients
OTHERS := tests/histories tests/mutations tests/openapi tests/page tests/prometheus
CARGO_DENY := 0.20.2
CARGO_MUTANTS := 27.1.0

OURS := target/venv-ours
OPENAPI := target/venv-openapi
PAGE := target/venv-page
REDIS := target/venv-redis
CYCLES := THROTTLE_BIN=target/release/throttle $(OURS)/bin/python python_client/benches/cycles.py \
    --published target/venv-0.5.13/bin/python $(if $(QUICK),--quick)

# The fuzz targets, for how many seconds `make soak-fuzz` runs each, and what looks after memory
# (`none` is twice as fast). The compiler offers by itself what that takes only where it is nightly.
FUZZ := answer configuration duration gelf http operations server_url wire
FUZZ_SECONDS ?= 600
CARGO_FUZZ := 0.13.2
FUZZ_ENV := RUSTC_BOOTSTRAP=1 CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_STRIP=none \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
FUZZ_SANITIZER ?= address
FUZZ_BUILT := --features libfuzzer --sanitizer $(FUZZ_SANITIZER)
FUZZ_FOUND := target/fuzz-corpus
FUZZ_RUN = $(FUZZ_ENV) cargo fuzz run $(FUZZ_BUILT) $*

# The published server, to compare with; where it cannot be installed, it is left out.
UPSTREAM_VERSION := 0.5.13
UPSTREAM ?= target/bench/upstream/bin/throttle
BENCH := target/release/throttle-bench
MEASURED = target/bench/results.json $(wildcard target/bench/python.json)

HISTORIES := THROTTLE_BIN=target/debug/throttle $(OURS)/bin/python -m pytest -q -p no:asyncio \
    tests/histories

.PHONY: run test test-rust test-bench test-fuzz test-python test-histories test-openapi \
    test-page test-deploy test-clients soak soak-simulation mutations mutants soak-histories \
    soak-fuzz keep-fuzz cargo-fuzz soak-openapi soak-hostile soak-endurance sanitize bench \
    bench-report bench-servers bench-room bench-docs compare-clients bench-python audit

run:
	cargo run --release

# The last ones wait more than they work, so two of them go side by side.
test: test-rust test-bench test-fuzz
	$(MAKE) --jobs 2 --output-sync=target test-python test-histories test-openapi test-page \
	    test-deploy test-clients

test-rust:
	cargo fmt --all --check
	cargo clippy --all-targets -- -D warnings
	cargo test
	RUSTDOCFLAGS="-D warnings" cargo doc --no-deps

# The benchmark itself: that it works, not how fast anything is.
test-bench:
	cargo build
	cargo clippy --package throttle-bench --all-targets -- -D warnings
	cargo test --package throttle-bench
	cargo run --package throttle-bench -- run --smoke --throttle target/debug/throttle \
	    --out target/bench/smoke.json
	cargo run --package throttle-bench -- report target/bench/smoke.json
	cargo run --package throttle-bench -- soak --throttle target/debug/throttle \
	    --minutes 0.07 --peers 200 --rate 1000 --out target/bench/soak-smoke.json

# Everything that reads bytes, with bytes that were worth a look before. Takes seconds.
test-fuzz:
	cargo clippy --package throttle-fuzz --all-targets -- -D warnings
	cargo test --package throttle-fuzz

# Our own Python client, against the real server; and what is written in Python elsewhere is linted.
test-python: $(OURS)/.installed
	cargo build
	cd python_client && ../$(OURS)/bin/ruff check && ../$(OURS)/bin/ruff format --check
	$(OURS)/bin/ruff check --config python_client/pyproject.toml $(OTHERS)
	$(OURS)/bin/ruff format --check --config python_client/pyproject.toml $(OTHERS)
	cd python_client && ../$(OURS)/bin/mypy && ../$(OURS)/bin/pyright --pythonpath ../$(OURS)/bin/python
	THROTTLE_BIN=target/debug/throttle $(OURS)/bin/python -m pytest -q -c python_client/pyproject.toml python_client/tests

# Clients and server under faults: half a minute, and a table of what came of it. HISTORIES_SEED
# repeats what was drawn by lot, though not the history; where there is no cc, the clock keeps still.
test-histories: $(OURS)/.installed
	cargo build
	MYPYPATH=python_client:python_client/tests $(OURS)/bin/mypy --strict tests/histories
	$(HISTORIES)

# What /openapi.json says, against what the server answers.
test-openapi: $(OPENAPI)/.installed
	cargo build
	THROTTLE_BIN=target/debug/throttle $(OPENAPI)/bin/python -m pytest -q tests/openapi

# The page, in a browser without a window (Debian's package `chromium`; without it, it is left out).
test-page: $(PAGE)/.installed
	cargo build
	THROTTLE_BIN=target/debug/throttle $(PAGE)/bin/python -m pytest -q -p no:asyncio tests/page

# What is in deploy/, with a real Prometheus (Debian's package `prometheus`; without it, it is left
# out).
test-deploy: $(OURS)/.installed
	cargo build
	THROTTLE_BIN=target/debug/throttle $(OURS)/bin/python -m pytest -q -p no:asyncio tests/prometheus

# The Python clients that are published today, unmodified, each in an environment of its own; and
# the same flows with our own client, in both ways in which it can be told who locks.
test-clients: $(VENVS:%=%/.installed) $(OURS)/.installed
	cargo build
	for venv in $(VENVS) $(OURS); do \
	    THROTTLE_BIN=target/debug/throttle $$venv/bin/python -m pytest -q -p no:asyncio $(PUBLISHED) || exit 1; \
	done
	THROTTLE_LOCK_BY=peer THROTTLE_BIN=target/debug/throttle \
	    $(OURS)/bin/python -m pytest -q -p no:asyncio $(PUBLISHED)

# The long forms of what tests for trust, one after the other; `docs/reliability.md` says what each
# is about, and has what they showed. Several hours; each can be run alone.
soak: soak-simulation mutations mutants soak-histories soak-fuzz soak-openapi soak-hostile \
    soak-endurance sanitize

# A hundred million events; everything that can be reached is reached a thousand times.
soak-simulation:
	THROTTLE_SIMULATION_SEEDS=10000 THROTTLE_SIMULATION_EVENTS=10000 \
	    THROTTLE_SIMULATION_REACHES=1000 \
	    cargo test --profile soak --test simulation promises -- --nocapture

# Faults that are put into the server on purpose: the short form of the simulation catches each.
mutations:
	python3 tests/mutations/run.py

# Changes the pure room in hundreds of small ways, and fails if its tests do not notice each of
# them. Twenty minutes or more; not part of `make test`.
mutants:
	cargo mutants --version || cargo install cargo-mutants --version $(CARGO_MUTANTS) --locked
	tests/mutants/run

# Histories of three minutes for each fault.
soak-histories: $(OURS)/.installed
	cargo build
	HISTORIES_SECONDS=180 $(HISTORIES) -k test_scenarios

# Looks for bytes that break something, two targets at a time. What it finds interesting is kept in
# target/; what breaks something, in fuzz/artifacts/.
soak-fuzz: cargo-fuzz
	$(MAKE) --jobs 2 --keep-going $(FUZZ:%=soak-fuzz-%)

soak-fuzz-%:
	mkdir -p $(FUZZ_FOUND)/$*
	$(FUZZ_RUN) $(FUZZ_FOUND)/$* fuzz/corpus/$* -- -max_total_time=$(FUZZ_SECONDS) -timeout=60 \
	    -print_final_stats=1 $(patsubst %,-dict=%,$(wildcard fuzz/dictionaries/$*.dict))

# Adds to the corpus of the repository what soaking has found that reaches more code. Not each
# number of times that it does, or there would be no end to it.
keep-fuzz: cargo-fuzz
	$(MAKE) $(FUZZ:%=keep-fuzz-%)

keep-fuzz-%:
	mkdir -p $(FUZZ_FOUND)/$*
	$(FUZZ_RUN) fuzz/corpus/$* $(FUZZ_FOUND)/$* -- -merge=1 -use_counters=0

cargo-fuzz:
	cargo fuzz --version || cargo install cargo-fuzz --version $(CARGO_FUZZ) --locked
	$(FUZZ_ENV) cargo fuzz build $(FUZZ_BUILT)

# The same with thousands of requests that are made up, for five minutes, from a seed that is printed
# (SEED=… takes one back).
soak-openapi: $(OPENAPI)/.installed
	cargo build
	THROTTLE_SOAK=1 THROTTLE_SEED=$(SEED) THROTTLE_BIN=target/debug/throttle \
	    $(OPENAPI)/bin/python -m pytest -q -s tests/openapi/test_generated.py

# Hostile clients by the thousand, against the release binary; what they cost is printed.
soak-hostile:
	THROTTLE_SOAK=1 cargo test --release --test it hostile:: -- --nocapture --test-threads 1

# Endurance: thirty minutes of ten thousand peers. No answer but those expected, no difference
# between what the server counts and what the peers know, and memory that does not grow.
soak-endurance:
	cargo build --release --package throttle-server --package throttle-bench
	$(BENCH) soak --minutes 30

# The unit tests under AddressSanitizer, which finds leaks, too; those of the door to the books and
# of parked requests under ThreadSanitizer. The compiler is the stable one, with an option that it
# does not call stable yet.
SANITIZED := RUSTC_BOOTSTRAP=1 cargo test --lib --target x86_64-unknown-linux-gnu

sanitize:
	RUSTFLAGS=-Zsanitizer=address $(SANITIZED) --target-dir target/asan
	RUSTFLAGS=-Zsanitizer=thread $(SANITIZED) --target-dir target/tsan -- state:: waiting::

# How fast everything is, beside what else one could use. Half an hour; QUICK=1 takes two minutes,
# and leaves out the pure room. Afterwards `make bench-docs` writes the figures into the docs. One
# after the other, for they would disturb each other.
bench:
	$(MAKE) bench-servers
	-$(MAKE) bench-python
	$(if $(QUICK),,$(MAKE) bench-room)
	$(MAKE) bench-report

bench-report:
	$(BENCH) report $(MEASURED) $(if $(QUICK),,--room target/criterion)

bench-servers: $(UPSTREAM)
	cargo build --release --package throttle-server --package throttle-bench
	$(BENCH) run --upstream $(UPSTREAM) $(if $(QUICK),--quick)

bench-room:
	cargo bench --package throttle-bench --bench room

bench-docs:
	cargo build --release --package throttle-server --package throttle-bench
	$(BENCH) report $(MEASURED) --room target/criterion --docs docs

target/bench/upstream/bin/throttle:
	cargo install throttle-server --version $(UPSTREAM_VERSION) --locked --quiet \
	    --root target/bench/upstream --target-dir target/bench/build \
	    || echo "throttle-server $(UPSTREAM_VERSION) cannot be installed: it is left out"

# Lock cycles a second: our Python client beside the published one.
compare-clients: target/venv-0.5.13/.installed $(OURS)/.installed
	cargo build --release
	$(CYCLES)

# The same, and the published one on its own server, and redis-py, if there is a redis-server; all
# rounds go to target/bench/python.json. QUICK=1 takes less than 20 seconds, else it is 90.
bench-python: $(UPSTREAM) target/venv-0.5.13/.installed $(REDIS)/.installed $(OURS)/.installed
	cargo build --release
	$(CYCLES) --upstream $(UPSTREAM) --redis $(REDIS)/bin/python --json target/bench/python.json

$(OURS)/.installed: python_client/pyproject.toml python_client/requirements-dev.txt
	python3 -m venv $(OURS)
	$(OURS)/bin/python -m pip install --quiet --requirement python_client/requirements-dev.txt
	$(OURS)/bin/python -m pip install --quiet --editable python_client
	touch $@

$(REDIS)/.installed: python_client/requirements-bench.txt
	python3 -m venv $(REDIS)
	$(REDIS)/bin/python -m pip install --quiet --requirement $<
	touch $@

$(OPENAPI)/.installed: tests/openapi/requirements.txt
	python3 -m venv $(OPENAPI)
	$(OPENAPI)/bin/python -m pip install --quiet --requirement $<
	touch $@

$(PAGE)/.installed: tests/page/requirements.txt python_client/pyproject.toml
	python3 -m venv $(PAGE)
	$(PAGE)/bin/python -m pip install --quiet --requirement $< --editable python_client
	touch $@

target/venv-%/.installed: $(PUBLISHED)/requirements-%.txt
	python3 -m venv target/venv-$*
	target/venv-$*/bin/python -m pip install --quiet --requirement $<
	touch $@

# Licences, bans and sources of all dependencies; known vulnerabilities where the list of them can
# be reached.
audit:
	cargo deny --version || cargo install cargo-deny --version $(CARGO_DENY) --locked
	cargo deny check licenses bans sources
	if cargo deny fetch db; then cargo deny check advisories; \
	else echo "advisories not checked: the list cannot be reached"; fi

