# The two commands: make replicate, make test. `make help` lists the rest.
SCALE ?= demo
CORES ?= $(shell nproc 2>/dev/null || echo 2)
# Not the environment that is about to be made, should it be active.
PYTHON ?= $(shell PATH="$$(printf %s "$$PATH" | tr : '\n' | grep -v '^$(CURDIR)/.venv/' | paste -sd:)"; command -v python3.11 || command -v python3)
# Overrides of config.yaml, for example CONFIG="papers=expert-ecology seeds=[0,1]"; further snakemake options in ARGS.
CONFIG ?=
ARGS ?=
# A file of `moe-replication export`, for make report.
BUNDLE ?=
# Where a CPU-only build of torch is offered, for example TORCH_INDEX=https://download.pytorch.org/whl/cpu.
TORCH_INDEX ?=
# For make benchmark: suites, all when empty; ARGS=--quick.
SUITES ?=

VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
READY := $(VENV)/.ready
GPUS := $(shell nvidia-smi -L 2>/dev/null | wc -l)
SNAKEMAKE := PATH="$(BIN):$$PATH" $(BIN)/snakemake --workflow-profile workflow/profiles/default $(if $(filter-out 0,$(GPUS)),--resources gpu=$(GPUS)) $(ARGS) --config scale=$(SCALE) $(CONFIG)
# CONFIG as options of a command, in the shell's own arguments.
AS_SETTINGS = set -- $(CONFIG); for setting; do set -- "$$@" --set "$$setting"; shift; done

.DEFAULT_GOAL := help
.PHONY: help env replicate plan test test-fast test-long lint benchmark docs report reference ui unlock clean lock

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  variables: SCALE=smoke|demo|cpu|cifar|gpu|paper  CORES=n  CONFIG='key=value ...'  ARGS='snakemake options'  BUNDLE=file  SUITES='layer ...'"

env: $(READY) ## Create .venv from requirements.lock

# torch first and alone: a CPU build is taken where one is offered, and nothing pulls another version.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) "$$(grep '^torch==' requirements.lock)"
	DS_BUILD_OPS=0 $(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

replicate: $(READY) ## Run the whole DAG at SCALE and write the report
	@$(SNAKEMAKE) --cores $(CORES)
	@$(MAKE) --no-print-directory report
	@grep -q '"failed"' results/$(SCALE)/mirror.json 2>/dev/null && tail -n 1 logs/$(SCALE)/mirror.log || true
	@echo
	@echo "Report     results/$(SCALE)/report.html"
	@echo "Scorecard  results/$(SCALE)/scorecard.html   (also .md, .json)"
	@echo "Figures    figures/$(SCALE)/                 (PNG, PDF, and the CSV behind each)"
	@echo "Runs       make ui SCALE=$(SCALE)            (MLflow at http://127.0.0.1:5000)"

plan: $(READY) ## Show what replicate would take and do at SCALE, and run nothing
	@$(AS_SETTINGS); \
	  $(BIN)/moe-replication plan --scale $(SCALE) "$$@"
	@echo
	@$(SNAKEMAKE) --cores $(CORES) --dry-run --quiet rules

# Of a bundle: a project of its own, and an environment without torch where .venv is not there.
READER := $(if $(wildcard $(READY)),$(VENV),build/reader)
FRESH := build/report/$(basename $(basename $(notdir $(BUNDLE))))

ifneq ($(BUNDLE),)
report: $(READER)/.ready
	rm -rf $(FRESH)
	@$(READER)/bin/moe-replication import $(BUNDLE) --into $(FRESH)
	@mkdir -p $(FRESH)/logs && cd $(FRESH) && export PATH="$(CURDIR)/$(READER)/bin:$$PATH" \
	  && snakemake --workflow-profile workflow/profiles/default --cores $(CORES) $(ARGS) \
	  && { snakemake --workflow-profile workflow/profiles/default --report report.html > logs/report.log 2>&1 \
	  || { tail -n 5 logs/report.log; exit 1; }; }
	@echo "Report     $(FRESH)/report.html   (scorecard and tables in results/, pictures in figures/)"
else
report: $(READY) ## Write results/SCALE/report.html from a finished DAG; with BUNDLE=file, rebuild all from that file
	@mkdir -p logs/$(SCALE)
	@$(SNAKEMAKE) --cores $(CORES) --report results/$(SCALE)/report.html > logs/$(SCALE)/report.log 2>&1 \
	  || { tail -n 5 logs/$(SCALE)/report.log; exit 1; }
endif

reference: replicate ## Replicate SCALE and put its runs and verdicts into reference/SCALE; with figures/SCALE they go into git
	@mkdir -p reference/$(SCALE)
	@$(AS_SETTINGS); \
	  $(BIN)/moe-replication export --scale $(SCALE) --out reference/$(SCALE)/runs.tar.gz "$$@"
	@cp results/$(SCALE)/scorecard.json reference/$(SCALE)/
	@sed -E 's/\[([^]]*)\]\(runs\/[^)]*\)/\1/g' results/$(SCALE)/scorecard.md > reference/$(SCALE)/scorecard.md  # runs are in the bundle

build/reader/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv build/reader
	build/reader/bin/pip install --quiet --constraint requirements.lock --editable ".[report]"
	@touch $@

ui: $(READY) ## Open the runs of SCALE in MLflow at http://127.0.0.1:5000, with the losses of running ones
	@$(AS_SETTINGS); \
	  $(BIN)/moe-replication ui --scale $(SCALE) "$$@"

test: lint ## Lint and run every test, the smoke scale end to end included
	$(BIN)/pytest -m "not slow" -n 2
	$(BIN)/pytest -m "slow and not long" -n 2 --dist loadfile --durations 10

test-long: $(READY) ## Run what make test leaves out: the whole workflow killed again and again, a SLURM cluster on this machine
	MOE_DAG_KILLS=10 $(BIN)/pytest -m long
	MOE_KILLS=51 $(BIN)/pytest tests/training/test_kills.py

test-fast: $(READY) ## Run the tests that take seconds
	$(BIN)/pytest -m "not slow" -n 2

lint: $(READY) ## Check style of code and workflow
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/snakefmt --check Snakefile workflow
	PATH="$(BIN):$$PATH" $(BIN)/snakemake --lint

# Peers stand beside .venv, which stays as the lock file made it.
build/peers/.ready: pyproject.toml | $(READY)
	rm -rf build/peers
	$(BIN)/pip install --quiet --no-deps --target build/peers \
	  $$(sed -n 's/^bench = \[\(.*\)\]/\1/p' pyproject.toml | tr -d '",')
	@touch $@

benchmark: $(READY) build/peers/.ready ## Time SUITES beside their peers and rewrite docs/performance.md; ARGS=--quick for a short look
	$(BIN)/python -m benchmarks $(SUITES) $(ARGS)
	$(BIN)/python -m benchmarks.report

# The site's programs have a folder of their own: .venv stays as the lock file made it.
build/mkdocs/.ready: pyproject.toml
	rm -rf build/mkdocs
	$(PYTHON) -m venv build/mkdocs
	build/mkdocs/bin/pip install --quiet $$(sed -n 's/^docs = \[\(.*\)\]/\1/p' pyproject.toml | tr -d '",')
	@touch $@

docs: $(READY) build/mkdocs/.ready ## Rewrite docs/reference and build the site of all documents into build/site
	$(BIN)/python docs/generate.py
	NO_MKDOCS_2_WARNING=1 build/mkdocs/bin/mkdocs build --strict --quiet
	@echo "Site       build/site/index.html"

unlock: $(READY) ## Free the folder after Snakemake was killed
	@$(SNAKEMAKE) --unlock

clean: ## Remove results, figures, logs and data of every scale (asks first)
	@printf 'Remove results/ logs/ data/ and figures other than figures/cpu? [y/N] '; read answer; [ "$$answer" = y ]
	rm -rf results logs data $(filter-out figures/cpu,$(wildcard figures/*))

lock: ## Resolve pyproject.toml anew into requirements.lock
	rm -rf build/lock && $(PYTHON) -m venv build/lock
	build/lock/bin/pip install --quiet "$$(sed -n 's/.*"\(torch==[^"]*\)".*/\1/p' pyproject.toml)"
	DS_BUILD_OPS=0 build/lock/bin/pip install --quiet ".[workflow,cluster,train,tracking,dev]"
	{ echo "# Made by make lock from pyproject.toml. No hashes: torch has a CPU and a CUDA build of one version."; \
	  build/lock/bin/pip freeze --exclude moe-replication --exclude pip --exclude setuptools \
	  | grep -viE '^nvidia-|^cuda-|^triton|^moe-replication' | sed 's/+c[pu][u0-9]*//'; } > requirements.lock
	rm -rf build/lock
