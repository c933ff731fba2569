# Two commands do everything from a clean clone, given Rust, Python >= 3.10 and make:
#   make demo   build and run the main job on an embedded example
#   make test   build, check formatting, lint, types and stubs, run every test and build all documentation
# and `make docs` builds the documentation alone, into target/docs, `make wheels` what is released, into dist.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# Whatever environment the caller has activated stays out of it.
unexport PYTHONPATH

.PHONY: demo test build lint rust-test rust-docs python-test slow-test ray-test wheel-test docs wheels audit bench tables clean

demo: $(VENV)/.installed
	$(BIN)/signoise demo

test: build lint rust-test rust-docs python-test wheel-test docs
	@echo "all checks passed"

# The package itself as a user would install it: compiled in release mode from the lock file.
$(VENV)/.installed: Cargo.lock pyproject.toml $(shell find rust python -name '*.rs' -o -name '*.py' -o -name '*.toml')
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet .
	touch $@

$(VENV)/.dev: pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --group dev
	touch $@

build: $(VENV)/.dev
	VIRTUAL_ENV=$(CURDIR)/$(VENV) $(BIN)/maturin develop --release --locked --quiet
	rm -f $(VENV)/.installed

lint: build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	$(BIN)/ruff format --check python tests benches docs release fuzz
	$(BIN)/ruff check python tests benches docs release fuzz
	$(BIN)/python -m mypy
	$(BIN)/python -m mypy.stubtest signoise._core

# Properties on a quarter of the cases that they are tried on by default (PROPTEST_CASES=256).
rust-test: export PROPTEST_CASES ?= 64
rust-test:
	cargo test --locked --quiet -p signoise-core -p signoise-scan

# What rustdoc says of the crates, without a warning.
rust-docs:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --quiet --no-deps -p signoise-core -p signoise-scan

python-test: build
	$(BIN)/python -m pytest -n auto

# Tests that take seconds each.
slow-test: build
	$(BIN)/python -m pytest -n auto -m slow

# The engine on a real cluster of several processes, which takes a minute and Ray. `make test` has its scheduling, and
# the contract of engines, without a cluster.
ray-test: build
	$(BIN)/python -m pip install --quiet 'ray>=2.50'
	$(BIN)/python -m pytest tests/test_ray.py

# The wheel in an empty environment, away from the source tree.
wheel-test: $(VENV)/.dev
	rm -rf target/wheels target/empty
	$(BIN)/maturin build --release --locked --quiet --out target/wheels
	$(PYTHON) -m venv target/empty
	target/empty/bin/python -m pip install --quiet --no-compile target/wheels/*.whl
	cd target/empty && bin/signoise demo > demo.txt && tail -n 3 demo.txt

# The documentation site; a warning is an error. What is built without a network is read without one, too.
docs: build
	$(BIN)/sphinx-build -q -W --keep-going -b html -d target/docs-trees docs target/docs
	@echo "documentation: target/docs/index.html"

# The sdist, and from it the wheel for any Linux of this processor since glibc 2.17 and any Python since 3.10, into dist/;
# then all that can be checked of them. TARGET=aarch64-unknown-linux-gnu builds for another one (rustup target add it).
TARGET := $(shell rustc -vV | sed -n 's/^host: //p')

wheels: $(VENV)/.release
	rm -rf dist
	$(BIN)/maturin build --release --locked --sdist --zig --compatibility manylinux2014 --target $(TARGET) \
		--target-dir target/wheels-$(TARGET) --out dist
	$(BIN)/python release/check.py dist

# Licences of all that is compiled in, and holes that are known; what needs a network or a tool that is not here is
# skipped, with the reason.
audit: $(VENV)/.release
	$(BIN)/python release/audit.py

$(VENV)/.release: pyproject.toml
	test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --group release
	touch $@

bench: build
	$(BIN)/python benches/bench_paper_table.py
	$(BIN)/python benches/bench_kernels.py
	$(BIN)/python benches/bench_report.py

# All of them, for some hours, and one page of tables in target/benchmarks; ONLY=scan,json measures these again.
tables: build
	$(BIN)/python benches/tables.py --to target/benchmarks $(if $(ONLY),--only $(ONLY))

clean:
	rm -rf $(VENV) target dist
