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
.PHONY: demo local plaid dashboard cost capacity load
demo: setup ## Deploy the template onto an emulator, drive it with webhooks, compare table and Plaid row by row
	@$(BIN)/python -m local.demo $(ARGS)

local: setup ## Run the stack on this machine until Ctrl-C (PLAID_BASE_URL=… LOCAL_AWS_PROXY=…)
	@exec $(BIN)/python -m local.stack $(ARGS)

cost: setup ## Print what a stack costs in a month: the tables of docs/cost.md
	@$(BIN)/python -m local.cost

ITEMS ?= 100000
WEBHOOKS ?= 2
capacity: setup ## Simulate the deployed system with ITEMS=… and WEBHOOKS=… of an Item and day: lag, concurrency, throttles, cost
	@$(BIN)/python -m local.capacity --items $(ITEMS) --webhooks $(WEBHOOKS) $(ARGS)

load: setup ## Put load on the local stack, and compare table and Plaid (ARGS="--items 1000 --seconds 60", ARGS=--json)
	@PYTHONPATH=layers/plaid_sync $(BIN)/python -m tests.load $(ARGS)

dashboard: setup ## Draw the deployed dashboard into .local/dashboard.png (of `make local`, or else of a demo)
	@$(BIN)/python -m local.dashboard $(ARGS)

plaid: setup ## Run the local Plaid server alone
	@exec $(BIN)/python -m local.plaid $(ARGS)

##@ Build it
.PHONY: build build-local reproducible sbom licenses
# Python 3.13, which Lambda runs, compiles the layers; SAM looks for it on PATH. The first that runs: a version
# manager's shim for a Python that is not selected fails.
PYTHON313 ?= $(shell for python in python3.13 $(PYTHON) $(BIN)/python \
	"$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/3.13*/bin/python3.13 \
	"$${UV_PYTHON_INSTALL_DIR:-$$HOME/.local/share/uv/python}"/cpython-3.13*/bin/python3.13; do \
	"$$python" -c 'import pip, sys; assert sys.version_info[:2] == (3, 13); print(sys.executable)' 2>/dev/null && break; done)
ARCHITECTURE ?= arm64
SAM := SAM_CLI_TELEMETRY=0 .local/tools/sam/bin/sam
THIS_ARCHITECTURE := $(patsubst aarch64,arm64,$(shell uname -m))
# The digest of a build's sources.
SOURCES = find functions layers infra template.yaml -type f -not -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum
# SAM caches a layer by its source and its template architecture, so both get the architecture. The functions' files have
# the permissions of the clone's umask: set them.
define SAM_BUILD
@PATH="$$(dirname "$(PYTHON313)"):$$PATH" LAYER_PLATFORM=$(1) $(SAM) build --parameter-overrides Architecture=$(1) --build-dir $(2) $(3)
@find $(2)/*Function -type d -exec chmod 755 {} + -o -exec chmod 644 {} +
@$(BIN)/python -m local.builds --build $(2) --architecture $(1) $(if $(filter $(1),$(THIS_ARCHITECTURE)),--python "$(PYTHON313)")
endef

build: setup .local/tools/.installed .python313 ## Build for deployment into .aws-sam/build (ARCHITECTURE=arm64 or x86_64, on any machine)
	$(call SAM_BUILD,$(ARCHITECTURE),.aws-sam/build)

build-local: setup .local/tools/.installed .python313 ## Build for this machine's architecture into .aws-sam/local, if a source changed
	@test "$$($(SOURCES))" = "$$(cat .aws-sam/local/sources.sha256 2>/dev/null)" && echo ".aws-sam/local is up to date" || $(MAKE) .build-local

.PHONY: .build-local
.build-local:
	$(call SAM_BUILD,$(THIS_ARCHITECTURE),.aws-sam/local,--no-cached)
	@$(SOURCES) >.aws-sam/local/sources.sha256

reproducible: build ## Build again in another folder and under another umask, and compare the hashes
	@copy=$$(mktemp -d) && trap 'rm -rf "$$copy"' EXIT && umask 077 && \
		git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xf - -C "$$copy" && \
		mkdir "$$copy/.local" && ln -s "$(CURDIR)/.local/tools" "$$copy/.local/tools" && ln -s "$(CURDIR)/.venv" "$$copy/.venv" && \
		$(MAKE) -C "$$copy" build && again=$$($(BIN)/python -m local.builds --digest --build "$$copy/.aws-sam/build") && \
		first=$$($(BIN)/python -m local.builds --digest) && { test "$$first" = "$$again" && echo "Two builds, one hash: $$first" || \
		{ echo "Two builds differ: $$first and $$again"; exit 1; }; }

# The last build, and an environment that holds nothing but its dependencies layer, for the tools that read environments.
BUILT = $(firstword $(patsubst %/template.yaml,%,$(wildcard .aws-sam/build/template.yaml .aws-sam/local/template.yaml)))
LAYER_ENVIRONMENT := .local/layer
.PHONY: .layer-environment
.layer-environment: .local/tools/supply-chain/.installed
	@test -n "$(BUILT)" || { echo "Nothing is built: make build"; exit 2; }
	@$(PYTHON) -m venv --without-pip --clear $(LAYER_ENVIRONMENT)
	@echo "$(abspath $(BUILT))/DependenciesLayer/python" >"$$($(LAYER_ENVIRONMENT)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/layer.pth"

sbom: .layer-environment ## Write the SBOM of the last build's dependencies (CycloneDX)
	@$(SUPPLY_CHAIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file $(BUILT)/sbom.cdx.json $(LAYER_ENVIRONMENT)/bin/python
	@echo "$(BUILT)/sbom.cdx.json"

licenses: .layer-environment ## List the licenses of the last build's dependencies, and fail for one that is not allowed
	@$(SUPPLY_CHAIN)/pip-licenses --python $(LAYER_ENVIRONMENT)/bin/python

.PHONY: .python313
.python313:
	@test -n "$(PYTHON313)" || { echo "No Python 3.13 with pip was found. Install one (pyenv install 3.13, uv python install 3.13), or name one: make build PYTHON313=…"; exit 1; }

##@ Run it as Lambda does
.PHONY: invoke sam-local test-artifact
invoke: setup ## Invoke a function with an event, without containers: FN=webhook EVENT=webhook_base64 (ITEM=…, ARGS=--json)
	@$(BIN)/python -m local.invoke "$(FN)" "$(EVENT)" $(if $(ITEM),--item "$(ITEM)") $(ARGS)

sam-local: setup ## Run every function in a container with `sam local`, against the local stack (needs Docker, Podman or Finch)
	@$(BIN)/python -m local.sam.containers || exit 0; $(MAKE) build-local; $(BIN)/python -m pytest tests/sam_local $(ARGS)

test-artifact: .local/runtime/.installed build-local ## Test the built functions and layers in Lambda's own runtime, without containers (Linux)
	@$(BIN)/python -m pytest --artifact .aws-sam/local tests/integration tests/e2e $(ARGS)

.local/runtime/.installed: local/lambda_runtime/requirements.txt .venv/.installed | .python313
	@"$(PYTHON313)" -m venv --clear --without-pip .local/runtime
	@$(BIN)/pip --python .local/runtime/bin/python install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes -r $< || \
		{ echo "Lambda's runtime interface client can't be installed here: it exists for Linux on x86_64 and arm64 only."; exit 2; }
	@touch $@

##@ Deploy it
.PHONY: deploy smoke field-report destroy
TEMPLATE ?= .aws-sam/build/template.yaml
# ENV is an environment of samconfig.toml, which names its stack; local is the stack of `make local`.
SAMCONFIG = $(shell $(BIN)/python -c 'import tomllib; print(tomllib.load(open("samconfig.toml", "rb")).get("$(ENV)", {}).get("deploy", {}).get("parameters", {}).get("$(1)", ""))')
STACK = $(call SAMCONFIG,stack_name)
NEED_ENV = test -n "$(STACK)$(filter local,$(1))" || { echo "ENV must be an environment of samconfig.toml, as in: make $@ ENV=dev"; exit 2; }
WHERE = $(if $(filter local,$(ENV)),--local,--stack "$(STACK)")
# PARAMETERS goes by the environment: no shell reads what is in its values.
export PARAMETERS
OVERRIDES = $(BIN)/python -m local.overrides "$(ENV)" "$(ARCHITECTURE)"
# Refuses a stack that can't be deployed, and writes the built template with the release beside it.
RELEASE = $(BIN)/python -m local.release "$(STACK)"

deploy: setup ## Build, deploy and check ENV=dev or prod (PARAMETERS="AlarmEmail=…", CONFIRM=no for CI); asks for Plaid's keys if the stack has none
	@$(call NEED_ENV,)
	@$(OVERRIDES) >/dev/null
	@test -t 0 -o "$(CONFIRM)" = no -o "$(call SAMCONFIG,confirm_changeset)" != True || \
		{ echo "$(ENV) waits for a confirmation, and there is no terminal: CONFIRM=no deploys without confirmation"; exit 2; }
	@$(BIN)/plaid-sync whoami
	@$(RELEASE)
	@$(BIN)/plaid-sync quotas $(WHERE) --parameters "$$($(OVERRIDES))"
	@$(MAKE) .local/tools/.installed
	@$(if $(filter no,$(BUILD)),,$(MAKE) build </dev/null)
	@$(RELEASE) "$(TEMPLATE)" "$$($(OVERRIDES))"
	@test -t 0 || exec </dev/null; \
		$(SAM) deploy --config-file "$(CURDIR)/samconfig.toml" --config-env $(ENV) --template-file "$(dir $(TEMPLATE))release.yaml" $(if $(filter no,$(CONFIRM)),--no-confirm-changeset) \
		--parameter-overrides "$$($(OVERRIDES))"
	@$(BIN)/plaid-sync keys set --if-missing $(WHERE)
	@$(BIN)/plaid-sync about $(WHERE)
	@$(BIN)/plaid-sync doctor $(WHERE)

smoke: setup ## Try the deployed ENV end to end: link a sandbox bank, audit, webhook, erase (ENV=local is the stack of make local)
	@$(call NEED_ENV,$(ENV))
	@$(BIN)/plaid-sync smoke $(WHERE) $(ARGS)

field-report: setup ## Collect in one file what ENV shows about each claim that no emulator confirms (docs/first-deployment.md)
	@$(call NEED_ENV,$(ENV))
	@mkdir -p .local
	@$(BIN)/plaid-sync field-report $(WHERE) --output ".local/field-report-$(ENV).json" $(ARGS)

destroy: setup ## Delete the stack of ENV; tables and keys are retained, and the commands that delete them are printed
	@$(call NEED_ENV,)
	@$(BIN)/plaid-sync retained $(WHERE)
	@$(MAKE) .local/tools/.installed
	@$(SAM) delete --stack-name "$(STACK)" $(ARGS)
	@echo "$(STACK) is deleted; the resources listed above are retained."

##@ Work on it
.PHONY: setup clients test test-all bench aws-cli conformance model faults postings move-in liveness mutants mutmut fuzz check lint types imports supply-chain bandit deptry secrets vulnerabilities locked format template-lint workflow-lint lock update
setup: .venv/.installed ## Make the virtual environment (the other targets do this by themselves)

.venv/.installed: tests/requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed, $(PYTHON) is $$($(PYTHON) -V 2>&1). Name another one: make PYTHON=python3.13"; exit 1; }
	@echo "Installing into .venv (half a minute, once)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r tests/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

clients: setup .local/clients/.installed ## Generate clients/python and clients/typescript from docs/openapi.yaml and docs/events
	@$(BIN)/python -m local.clients $(ARGS)

WORKERS ?= auto
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile
test: setup ## Run the unit, template, integration and liveness tests (ARGS="-k words" for some, WORKERS=0 for one process)
	@$(PYTEST) $(if $(filter tests/%,$(ARGS)),,tests/unit tests/template tests/integration tests/simulation/liveness) $(ARGS)

MIN_COVERAGE := 95
test-all: setup .local/tools/.installed .local/tools/supply-chain/.installed .local/tools/aws/.installed .local/quickstart/.installed .local/clients/.installed ## Run all tests, each case of them, and measure the branch coverage
	@$(PYTEST) --exhaustive --cov --cov-fail-under=$(MIN_COVERAGE) $(ARGS)

check: lint types imports locked supply-chain test ## Everything that must be green before a commit: style, types, dependency rule, locks, supply chain, tests

conformance: setup ## Test the assumptions about DynamoDB on the emulator, and on AWS's DynamoDB Local if Java and npm are installed
	@$(BIN)/python -m local.dynamodb_local
	@$(BIN)/python -m pytest tests/conformance $(ARGS)

model: setup ## Explore the protocol completely, then without each of its guards (ARGS="--without fence" for one trace)
	@PYTHONPATH=layers/plaid_sync $(BIN)/python -m tests.simulation.model $(ARGS)

N ?= 500
SEED ?= 1
faults: setup ## Run schedules of injected faults and races against the functions, and compare (N=10000 SEED=1, ARGS="--replay FILE")
	@PYTHONPATH=layers/plaid_sync $(BIN)/python -m tests.simulation.faults --schedules $(N) --seed $(SEED) $(ARGS)

postings: setup ## Let annotated pending transactions post under faults, and compare where each annotation is (N=1000 SEED=1)
	@PYTHONPATH=layers/plaid_sync $(BIN)/python -m tests.simulation.faults.postings --postings $(N) --seed $(SEED) $(ARGS)

move-in: setup ## Let Items of another system move in and out under faults, while their histories change (N=1000 SEED=1)
	@PYTHONPATH=layers/plaid_sync $(BIN)/python -m tests.simulation.faults.move_in --items $(N) --seed $(SEED) $(ARGS)

liveness: setup ## Measure in simulated time how soon the tables equal Plaid after each kind of fault (ARGS=--json)
	@PYTHONPATH=layers/plaid_sync $(BIN)/python -m tests.simulation.liveness $(ARGS)

bench: setup ## Measure CPU time, calls, bytes and units beside the usual ways and the floor (ARGS="--subject sync", --profile sync)
	@$(if $(findstring --,$(filter-out --document,$(ARGS))),,$(MAKE) .local/runtime/.installed build-local)
	@PYTHONPATH=layers/plaid_sync $(BIN)/python -m tests.bench $(ARGS)

mutants: setup ## Take each guard out of a copy of the engine, and run the tests that must fail (ARGS="--only fence-generation")
	@$(BIN)/python -m tests.mutants $(ARGS)

# On a copy, in which the engine is a top-level package, as mutmut needs it.
MODULES ?= plaid_sync.sync.* plaid_sync.webhook.* plaid_sync.aws.dynamodb.*
mutmut: setup ## Mutate sync, webhook and the DynamoDB adapters mechanically, for an hour (MODULES="plaid_sync.webhook.keys.*")
	@rm -rf .local/mutmut && mkdir -p .local/mutmut
	@cp -r layers/plaid_sync/plaid_sync cli docs functions local tests pyproject.toml .local/mutmut/
	@cd .local/mutmut && set -f && ../../$(BIN)/mutmut run $(MODULES) && ../../$(BIN)/mutmut export-cicd-stats >/dev/null && cat mutants/mutmut-cicd-stats.json

fuzz: setup ## Run the property tests of hostile input with many random examples (ARGS="-k webhooks")
	@HYPOTHESIS_PROFILE=nightly $(PYTEST) --timeout 0 tests/unit/properties $(ARGS)

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

SUPPLY_CHAIN := .local/tools/supply-chain/bin
LOCKS = $(shell git ls-files '*requirements*.txt')
supply-chain: bandit deptry secrets vulnerabilities $(if $(BUILT),licenses) ## Code, imports, secrets, vulnerabilities, licenses (AUDIT=required fails without the network)
	@echo "supply chain: $(if $(BUILT),no finding,no finding; licenses NOT checked: nothing is built (make build))"

BANDIT_FOLDERS ?= functions layers cli local
bandit: .local/tools/supply-chain/.installed
	@$(SUPPLY_CHAIN)/bandit --quiet --configfile pyproject.toml --recursive $(BANDIT_FOLDERS) 2> >(grep -v 'Test in comment' >&2)

deptry: .local/tools/supply-chain/.installed
	@$(SUPPLY_CHAIN)/deptry functions layers/plaid_sync cli 2>&1 | grep -v '^Assuming'

# .secrets.baseline lists what only looks like a secret: fake credentials of the local stack, digests, alphabets.
SECRETS_FILES = $$(git ls-files)
secrets: .local/tools/supply-chain/.installed
	@$(SUPPLY_CHAIN)/detect-secrets-hook --no-verify --baseline .secrets.baseline $(SECRETS_FILES)

# A package with known vulnerabilities shows whether the database answers: an empty answer from a proxy looks like success.
OSV ?= https://api.osv.dev/v1/query
IGNORED_VULNERABILITIES :=
PIP_AUDIT = $(SUPPLY_CHAIN)/pip-audit --disable-pip --progress-spinner off --vulnerability-service osv --osv-url $(OSV) $(IGNORED_VULNERABILITIES:%=--ignore-vuln %)
vulnerabilities: .local/tools/supply-chain/.installed
	@if { echo 'jinja2==2.4.1' | $(PIP_AUDIT) --no-deps -r /dev/stdin 2>/dev/null || true; } | grep -q '^jinja2 '; then \
		failed=0; for lock in $(LOCKS); do $(PIP_AUDIT) --require-hashes -r "$$lock" || failed=1; done; exit "$$failed"; \
	else echo "vulnerabilities: NOT checked, $(OSV) does not answer"; test "$(AUDIT)" != required; fi

.local/tools/supply-chain/.installed: infra/requirements-supply-chain.txt
	@echo "Installing the supply-chain tools into .local/tools/supply-chain (half a minute, once)"
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $<
	@touch $@

# Plaid's Node client, for its quickstart flow against the local Plaid; and the generator of clients/typescript.
define NPM_CI
@if command -v node >/dev/null && command -v npm >/dev/null; then \
	mkdir -p $(@D) && cp $(<D)/package.json $(<D)/package-lock.json $(@D)/ && \
	npm ci --prefix $(@D) --silent --ignore-scripts --no-audit --no-fund && touch $@; \
else echo "$(1): it needs node and npm"; fi
endef

.local/quickstart/.installed: tests/quickstart/package-lock.json
	$(call NPM_CI,Plaid's Node client is NOT tested)

.local/clients/.installed: local/clients/package-lock.json
	$(call NPM_CI,clients/typescript is NOT generated)

aws-cli: .local/tools/aws/.installed ## Install the AWS CLI 2 for the tests of the documents (Linux on x86-64; elsewhere use your own)

# PyPI has AWS's own program as an asset of the CDK: a layer for Lambda, of which only the program is unpacked.
.local/tools/aws/.installed: tests/documents/requirements.txt .venv/.installed
	@echo "Installing the AWS CLI into .local/tools/aws"
	@rm -rf $(@D) && mkdir -p $(@D)/unpacked
	@test "$$(uname -sm)" != "Linux x86_64" || { cd $(@D)/unpacked && \
		$(CURDIR)/$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --require-hashes --target package -r $(CURDIR)/$< && \
		tar -xzf "$$(find package -name 'asset-awscli-v2@*.jsii.tgz')" package/lib/layer.zip && \
		$(CURDIR)/$(BIN)/python -m zipfile -e package/lib/layer.zip . && mv awscli/v2/*/dist ../dist && chmod 755 ../dist/aws; }
	@rm -rf $(@D)/unpacked
	@touch $@

locked: setup ## Fail if a lock does not match pyproject.toml
	@$(MAKE) lock
	@git diff --exit-code --stat -- $(LOCKS)

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: setup ## Renew all locks from pyproject.toml (ARGS=--upgrade for newer versions)
	@$(LOCK) $(ARGS) pyproject.toml -o layers/dependencies/requirements.txt
	@$(LOCK) $(ARGS) pyproject.toml --extra cli --extra export --group dev -c layers/dependencies/requirements.txt -o tests/requirements.txt
	@$(LOCK) $(ARGS) --group layer-build -o layers/dependencies/requirements-build.txt
	@$(LOCK) $(ARGS) --group emulator -o local/requirements.txt
	@$(LOCK) $(ARGS) --group lambda-runtime -o local/lambda_runtime/requirements.txt
	@$(LOCK) $(ARGS) --group lint-template -o infra/requirements.txt
	@$(LOCK) $(ARGS) --group lint-checkov -o infra/requirements-checkov.txt
	@$(LOCK) $(ARGS) --group supply-chain -o infra/requirements-supply-chain.txt
	@$(LOCK) $(ARGS) --no-deps --group documents -o tests/documents/requirements.txt

update: ## Newer versions in every lock, within pyproject.toml's bounds
	@$(MAKE) lock ARGS=--upgrade
	@git --no-pager diff --stat -- '*requirements*.txt'
	@echo "Now: make check template-lint conformance fuzz. The versions that are pinned in pyproject.toml with == are moved by hand."
