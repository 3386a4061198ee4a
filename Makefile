# Every target that a person runs, in groups. `make` alone prints them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
BIN := .venv/bin
CODE := functions layers cli local tests

.PHONY: help
help: ## Print this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

##@ See it work
.PHONY: demo local plaid dashboard
demo: setup ## Deploy the template onto an emulator, drive it with webhooks, compare table and Plaid row by row
	@$(BIN)/python -m local.demo $(ARGS)

local: setup ## Keep the stack up on this machine (PLAID_BASE_URL=… LOCAL_AWS_PROXY=…), ends with Ctrl-C
	@exec $(BIN)/python -m local.stack $(ARGS)

dashboard: setup ## Draw the deployed dashboard into .local/dashboard.html and .png (of `make local`, or else of a demo)
	@$(BIN)/python -m local.dashboard $(ARGS)

plaid: setup ## Run the local Plaid server alone
	@exec $(BIN)/python -m local.plaid $(ARGS)

##@ Build it
.PHONY: build build-local reproducible licences
# What Lambda runs compiles the layers, and SAM wants it by its name, first on PATH. Whatever does not run is passed
# over: a version manager's stand-in for a Python that is not chosen answers an error.
PYTHON313 ?= $(shell for python in python3.13 $(PYTHON) $(BIN)/python \
	"$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python3.13 \
	"$${UV_PYTHON_INSTALL_DIR:-$$HOME/.local/share/uv/python}"/cpython-3.13*/bin/python3.13; do \
	"$$python" -c 'import pip, sys; assert sys.version_info[:2] == (3, 13); print(sys.executable)' 2>/dev/null && break; done)
ARCHITECTURE ?= arm64
SAM := SAM_CLI_TELEMETRY=0 .local/tools/sam/bin/sam
THIS_ARCHITECTURE := $(patsubst aarch64,arm64,$(shell uname -m))
# The digest of all that a build is made from.
SOURCES = find functions layers infra template.yaml -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum
# SAM takes a layer out of its cache by its source and architecture, which is why both are told the latter. Permissions
# of the functions' files are what the clone's umask made them.
define SAM_BUILD
@PATH="$$(dirname "$(PYTHON313)"):$$PATH" LAYER_PLATFORM=$(1) $(SAM) build --parameter-overrides Architecture=$(1) --build-dir $(2) $(3)
@find $(2)/*Function -type d -exec chmod 755 {} + -o -exec chmod 644 {} +
@$(BIN)/python -m local.builds --build $(2) --architecture $(1) $(if $(filter $(1),$(THIS_ARCHITECTURE)),--python "$(PYTHON313)")
endef

build: setup .local/tools/.installed .python313 ## Build what is deployed, for ARCHITECTURE=arm64 or x86_64, on any machine, into .aws-sam/build
	$(call SAM_BUILD,$(ARCHITECTURE),.aws-sam/build)

build-local: setup .local/tools/.installed .python313 ## Build the same for this machine's architecture, into .aws-sam/local, unless it is there
	@test "$$($(SOURCES))" = "$$(cat .aws-sam/local/made-from 2>/dev/null)" && echo ".aws-sam/local is up to date" || $(MAKE) .build-local

.PHONY: .build-local
.build-local:
	$(call SAM_BUILD,$(THIS_ARCHITECTURE),.aws-sam/local,--no-cached)
	@$(SOURCES) >.aws-sam/local/made-from

reproducible: build ## Build it once more, from a copy in another folder and under another umask, and compare the hashes
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && umask 077 && \
		git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xf - -C "$$copy" && \
		mkdir "$$copy/.local" && ln -s "$(CURDIR)/.local/tools" "$$copy/.local/tools" && ln -s "$(CURDIR)/.venv" "$$copy/.venv" && \
		$(MAKE) -C "$$copy" build && again=$$($(BIN)/python -m local.builds --digest --build "$$copy/.aws-sam/build") && \
		first=$$($(BIN)/python -m local.builds --digest) && { test "$$first" = "$$again" && echo "Two builds, one hash: $$first" || \
		{ echo "Two builds differ: $$first and $$again"; exit 1; }; }

licences: setup ## List the third-party software of the last build, with its licences
	@$(BIN)/python -m local.builds --third-party

.PHONY: .python313
.python313:
	@test -n "$(PYTHON313)" || { echo "No Python 3.13 with pip was found: install one (pyenv install 3.13, uv python install 3.13, or your system's python3.13), or name one: make build PYTHON313=…"; exit 1; }

##@ Run it as Lambda does
.PHONY: invoke sam-local test-artifact
invoke: setup ## Invoke one function with one event, without containers: FN=webhook EVENT=webhook_base64 (ITEM=…, ARGS=--json)
	@$(BIN)/python -m local.invoke "$(FN)" "$(EVENT)" $(if $(ITEM),--item "$(ITEM)") $(ARGS)

sam-local: setup build-local .local/runtime/.installed ## Run `sam local` for real: every function, every sample event, against the local stack
	@$(BIN)/python -m pytest tests/sam_local -v $(ARGS)

test-artifact: .local/runtime/.installed build-local ## Test what was built under Lambda's paths, runtime client and runtime emulator (Linux)
	@$(BIN)/python -m pytest --artifact .aws-sam/local tests/component $(ARGS)

.local/runtime/.installed: local/lambda_runtime/requirements.txt .venv/.installed | .python313
	@"$(PYTHON313)" -m venv --clear --without-pip .local/runtime
	@$(BIN)/pip --python .local/runtime/bin/python install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r $< || \
		{ echo "Lambda's runtime interface client can't be installed here: it is built for Linux alone, on x86_64 and arm64."; exit 2; }
	@touch $@

##@ Deploy it
.PHONY: deploy smoke destroy
TEMPLATE ?= .aws-sam/build/template.yaml
# ENV is an environment of samconfig.toml, which names its stack; local is the stack of `make local`.
SAMCONFIG = $(shell $(BIN)/python -c 'import tomllib; print(tomllib.load(open("samconfig.toml", "rb")).get("$(ENV)", {}).get("deploy", {}).get("parameters", {}).get("$(1)", ""))')
STACK = $(call SAMCONFIG,stack_name)
NEED_ENV = test -n "$(STACK)$(filter local,$(1))" || { echo "ENV must be an environment of samconfig.toml, as in: make $@ ENV=dev"; exit 2; }
WHERE = $(if $(filter local,$(ENV)),--local,--stack "$(STACK)")
# PARAMETERS goes by the environment: no shell reads what is in its values.
export PARAMETERS
OVERRIDES = $(BIN)/python -m local.overrides "$(ENV)" "$(ARCHITECTURE)"

deploy: setup ## Build, deploy and check ENV=dev or prod (PARAMETERS="AlarmEmail=…", CONFIRM=no for CI); asks for Plaid's keys if there are none
	@$(call NEED_ENV,)
	@$(OVERRIDES) >/dev/null
	@test -t 0 -o "$(CONFIRM)" = no -o "$(call SAMCONFIG,confirm_changeset)" != True || \
		{ echo "$(ENV) shows its changes and asks, and there is no terminal: CONFIRM=no deploys without being asked"; exit 2; }
	@$(BIN)/plaid-sync whoami
	@$(MAKE) .local/tools/.installed
	@$(if $(filter no,$(BUILD)),,$(MAKE) build </dev/null)
	@test -t 0 || exec </dev/null; \
		$(SAM) deploy --config-file "$(CURDIR)/samconfig.toml" --config-env $(ENV) --template-file $(TEMPLATE) $(if $(filter no,$(CONFIRM)),--no-confirm-changeset) \
		--parameter-overrides "$$($(OVERRIDES))"
	@$(BIN)/plaid-sync keys set --if-missing $(WHERE)
	@$(BIN)/plaid-sync about $(WHERE)
	@$(BIN)/plaid-sync doctor $(WHERE)

smoke: setup ## Try the deployed ENV end to end: link a sandbox bank, audit, webhook, erase (local is the stack of `make local`)
	@$(call NEED_ENV,$(ENV))
	@$(BIN)/plaid-sync smoke $(WHERE) $(ARGS)

destroy: setup ## Delete the stack of ENV with `sam delete`; tables and keys are retained, and it prints the commands that delete them
	@$(call NEED_ENV,)
	@$(BIN)/plaid-sync retained $(WHERE)
	@$(MAKE) .local/tools/.installed
	@$(SAM) delete --stack-name "$(STACK)" $(ARGS)
	@echo "$(STACK) is deleted; the resources listed above are retained."

##@ Work on it
.PHONY: setup test conformance model faults mutants fuzz check lint types imports supply-chain locked format template-lint workflow-lint lock update
setup: .venv/.installed ## Make the virtual environment (the other targets do this by themselves)

.venv/.installed: tests/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another one: make PYTHON=python3.13"; exit 1; }
	@echo "Installing into .venv (half a minute, once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

test: setup .local/tools/.installed .local/tools/supply-chain/.installed .local/tools/aws/.installed ## Run all tests (ARGS="-k words" for some)
	@$(BIN)/python -m pytest $(ARGS)

check: lint types imports locked supply-chain test ## All that must be green: style, types, dependency rule, locks, supply chain, tests

conformance: setup ## Ask the emulator and AWS's own DynamoDB Local the same questions (needs Java and npm for the latter)
	@$(BIN)/python -m tests.conformance $(ARGS)

model: setup ## Explore the protocol completely, then without each of its guards (ARGS="--without fence" for one trace)
	@PYTHONPATH=layers/plaid_sync $(BIN)/python -m tests.model $(ARGS)

N ?= 500
SEED ?= 1
faults: setup ## Run schedules of crashes, zombies, lost replies, races … and compare (N=10000 SEED=1, ARGS="--replay FILE")
	@PYTHONPATH=layers/plaid_sync $(BIN)/python -m tests.faults --schedules $(N) --seed $(SEED) $(ARGS)

mutants: setup ## Take each guard out of the engine, and see that a test, a trace or a schedule notices (ARGS="--only fence")
	@PYTHONPATH=layers/plaid_sync $(BIN)/python -m tests.mutants $(ARGS)

SECONDS ?= 60
fuzz: setup .local/fuzz/.installed ## Search for hostile input that something can't stand (SECONDS=60 or RUNS=1000000, ARGS="--target webhook")
	@PYTHONPATH=layers/plaid_sync:.local/fuzz/site $(BIN)/python -m tests.fuzz $(if $(RUNS),--runs $(RUNS),--seconds $(SECONDS)) $(ARGS)

.local/fuzz/.installed: tests/fuzz/requirements.txt .venv/.installed
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --upgrade --target .local/fuzz/site -r $< 2>/dev/null || \
		{ echo "atheris can't be installed for $$($(BIN)/python -V) here: it is built for Linux and Python 3.11 to 3.13. Name one: rm -r .venv && make fuzz PYTHON=python3.13"; exit 2; }
	@touch $@

lint: setup ## Style, with ruff
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)

types: setup ## Types, with mypy strict
	@$(BIN)/mypy $(CODE)

imports: setup ## The dependency rule, with import-linter
	@PYTHONPATH=layers/plaid_sync:cli $(BIN)/lint-imports --no-cache

TEMPLATES := template.yaml $(wildcard infra/*.yaml)
template-lint: .local/tools/.installed ## sam validate, cfn-lint and checkov on every template (installs them: a minute, once)
	@for template in $(TEMPLATES); do $(SAM) validate --lint --template "$$template"; done
	@.local/tools/sam/bin/cfn-lint -c I -a cfn_lint_serverless.rules -- $(TEMPLATES)
	@.local/tools/checkov/bin/checkov --skip-download --framework cloudformation --file $(TEMPLATES) --compact --quiet
	@echo "$(TEMPLATES): sam validate --lint, cfn-lint and checkov found nothing"

workflow-lint: .local/tools/.installed ## zizmor on GitHub's workflows
	@.local/tools/sam/bin/zizmor --offline --quiet .github/workflows && echo ".github/workflows: zizmor found nothing"

.local/tools/.installed: infra/requirements.txt infra/requirements-checkov.txt
	@echo "Installing the SAM CLI and the template linters into .local/tools (a minute, once)"
	@$(PYTHON) -m venv .local/tools/sam && $(PYTHON) -m venv .local/tools/checkov
	@.local/tools/sam/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r infra/requirements.txt
	@.local/tools/checkov/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r infra/requirements-checkov.txt
	@touch $@

format: setup ## Rewrite the code in the house style
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

supply-chain: setup .local/tools/supply-chain/.installed ## Hashes, bandit, imports, secrets, known vulnerabilities (ARGS=--must-audit demands the database)
	@$(BIN)/python -m tests.supply_chain $(ARGS)

.local/tools/supply-chain/.installed: infra/requirements-supply-chain.txt
	@echo "Installing what looks at the supply chain into .local/tools/supply-chain"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

.local/tools/aws/.installed: tests/documents/requirements.txt .venv/.installed
	@echo "Installing the AWS CLI into .local/tools/aws, for the tests"
	@$(BIN)/python -m tests.documents.aws_cli $< $(@D)
	@touch $@

locked: setup ## Fail where a lock does not fit pyproject.toml any more
	@$(MAKE) lock
	@git diff --exit-code --stat -- layers/dependencies tests/requirements.txt local/requirements.txt local/lambda_runtime/requirements.txt infra tests/fuzz/requirements.txt tests/documents/requirements.txt

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: setup ## Renew all locks from pyproject.toml (ARGS=--upgrade for newer versions)
	@$(LOCK) $(ARGS) pyproject.toml -o layers/dependencies/requirements.txt
	@$(LOCK) $(ARGS) pyproject.toml --extra cli --group dev -c layers/dependencies/requirements.txt -o tests/requirements.txt
	@$(LOCK) $(ARGS) --group layer-build -o layers/dependencies/requirements-build.txt
	@$(LOCK) $(ARGS) --group emulator -o local/requirements.txt
	@$(LOCK) $(ARGS) --group lambda-runtime -o local/lambda_runtime/requirements.txt
	@$(LOCK) $(ARGS) --group lint-template -o infra/requirements.txt
	@$(LOCK) $(ARGS) --group lint-checkov -o infra/requirements-checkov.txt
	@$(LOCK) $(ARGS) --group fuzz -o tests/fuzz/requirements.txt
	@$(LOCK) $(ARGS) --group supply-chain -o infra/requirements-supply-chain.txt
	@$(LOCK) $(ARGS) --no-deps --group documents -o tests/documents/requirements.txt

update: ## Newer versions in every lock, within pyproject.toml's bounds
	@$(MAKE) lock ARGS=--upgrade
	@git --no-pager diff --stat -- '*requirements*.txt'
	@echo "Now: make check template-lint conformance fuzz. The versions that are pinned in pyproject.toml with == are moved by hand."
