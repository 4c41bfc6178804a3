# The cloud: what each environment stands on. Included by the Makefile; ENV is dev, staging or prod.
# ADLOOM_TERRAFORM_MIRROR names a folder made by `terraform providers mirror` where the registry cannot be reached.

.PHONY: infra-plan infra-apply infra-destroy infra-env infra-bootstrap infra-docs infra-test infra-proof

DEPLOY = .venv/bin/python -m infra.deploy
NEEDS_ENV = $(if $(ENV),,$(error say which environment: make $@ ENV=dev))
CHECKOV := .venv-checkov/bin/checkov
# Resolves apart: it pins packages that Airflow and moto want newer.
CHECKOV_VERSION := 3.3.30

infra-plan: $(RUN) ## what an apply would change in the cloud of ENV
	$(NEEDS_ENV)@$(DEPLOY) plan --env $(ENV) || [ $$? -eq 2 ]

infra-apply: $(RUN) ## build the cloud of ENV: network, cluster, platform
	$(NEEDS_ENV)@$(DEPLOY) apply --env $(ENV) $(if $(YES),--yes)

infra-destroy: $(RUN) ## remove the cloud of ENV; prod also wants CONFIRM=adloom-prod
	$(NEEDS_ENV)@$(DEPLOY) destroy --env $(ENV) $(if $(CONFIRM),--confirm $(CONFIRM)) $(if $(YES),--yes)

infra-env: $(RUN) ## write what gitops/ must know of the cloud of ENV
	$(NEEDS_ENV)@$(DEPLOY) env --env $(ENV)

infra-bootstrap: $(RUN) ## install Argo CD and the root application into the cluster of ENV, once
	$(NEEDS_ENV)@$(DEPLOY) bootstrap --env $(ENV)

infra-docs: $(RUN) ## write the generated tables: variables and outputs of modules, who may do what
	@.venv/bin/python -m infra.tables

infra-test: $(DEV) $(CHECKOV) ## fmt, validate, module tests, an interrupted apply on an emulated AWS, checkov
	@.venv/bin/pytest tests/infra -m "not cloud" -k "not an_environment_is_built"
	@$(CHECKOV) --config-file infra/checkov.yaml --directory infra

infra-proof: $(DEV) ## build dev and prod on an emulated AWS, look at them, remove them (about a quarter of an hour)
	@.venv/bin/pytest tests/infra -m "proof or cloud" -k "an_environment_is_built"

$(CHECKOV):
	$(call step,install checkov apart,$(PYTHON) -m venv .venv-checkov && \
	  .venv-checkov/bin/pip install -qq $(PIP_FLAGS) checkov==$(CHECKOV_VERSION))
