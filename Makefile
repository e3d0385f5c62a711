# make run        the toy run, from photographs to a registered generator, in minutes
# make test       the tests; make test-slow the long ones (an hour or two)
# make servers    installs what tests with real servers need: PostgreSQL, Chromium, an S3 server, kustomize (as root, with Go)
# make benchmark-gpu   the tests for GPUs, then how fast this GPU trains: about ten minutes
# make e2e-container   builds the image and runs it (as root on Debian; half an hour)
# make e2e-cluster     applies the manifests and pods to a real Kubernetes API server (with Go; minutes the first time)
# make lint       ruff, mypy, and the linters of the workflows
# make setup      only creates the environment; make lock updates the lock files
#                 TORCH_INDEX=URL: with the torch of this package index, such as the one of PyTorch's CPU wheels
# make oldest-torch    installs the oldest torch that pyproject.toml allows instead of the locked one
# make image IMAGE=ADDRESS     builds the image with an SBOM and build provenance, pushes it, and prints its digest
.PHONY: image setup oldest-torch run test test-slow benchmark-gpu servers e2e-container e2e-cluster lint lock
PYTHON ?= python3
export PATH := $(CURDIR)/.venv/bin:$(PATH)
SUPPORTED := import sys; v = sys.version_info; \
	sys.exit(0 if (3, 11) <= v < (3, 14) else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 setup")
COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --extra server
INSTALL := .venv/bin/python -m pip --disable-pip-version-check install
# The lock file without torch and the libraries for GPUs that it needs
WITHOUT_TORCH := awk '/^[a-z]/ {skip = /^(torch|torchvision|triton|cuda-.*|nvidia-.*)==/ && !/^nvidia-ml-py/} !skip'
LOCKED_TORCH = $(shell sed -n 's/^\(torch\|torchvision\)\(==[^ ]*\).*/\1\2/p' requirements-dev.lock)
OLDEST_TORCH = $(shell sed -n 's/.*"torch>=\(.*\)".*/\1/p' pyproject.toml)

run: .venv/ready
	@progan plan
	@dvc repro
	@progan summary || { progan register && progan report && progan summary; }

setup: .venv/ready

.venv/ready: requirements-dev.lock pyproject.toml
	@$(PYTHON) -c '$(SUPPORTED)'
	@echo "Creating .venv and installing into it: $(if $(TORCH_INDEX),3,7) GB on disk, some minutes"
	@$(PYTHON) -m venv .venv
ifdef TORCH_INDEX
	@$(WITHOUT_TORCH) requirements-dev.lock > .venv/requirements.lock
	@$(INSTALL) --no-deps --require-hashes --requirement .venv/requirements.lock
	@$(INSTALL) --no-deps --index-url $(TORCH_INDEX) $(LOCKED_TORCH)
else
	@$(INSTALL) --no-deps --require-hashes --requirement requirements-dev.lock
endif
	@$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

image:
	@facts=$$(mktemp) && commit=$$(git rev-parse HEAD) \
		&& docker buildx build --sbom=true --provenance=mode=max --build-arg GIT_COMMIT=$$commit \
			--tag $(IMAGE):$$commit --metadata-file $$facts --push . \
		&& sed -n 's|.*"containerimage.digest": *"\([^"]*\)".*|$(IMAGE)@\1|p' $$facts && rm $$facts

oldest-torch: .venv/ready
	@$(INSTALL) "torch==$(OLDEST_TORCH).*" torchvision

# They start a hundred processes: none is to compile again what others have
test test-slow: export PYTHONDONTWRITEBYTECODE =
test: .venv/ready
	@python -m pytest -m "not slow and not container and not cluster" -n 2 --dist worksteal

test-slow: .venv/ready
	@python -m pytest -m slow

benchmark-gpu: .venv/ready
	@python -m pytest -m gpu tests/progan
	@python benchmarks/gpu.py

servers: .venv/ready
	@tests/install_servers.sh

e2e-container: .venv/ready
	@python -m pytest -m container -s

e2e-cluster: .venv/ready
	@tests/install_api_server.sh
	@python -m pytest -m cluster

lint: .venv/ready
	ruff format --check .
	ruff check .
	mypy
	check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml
	check-jsonschema --quiet --builtin-schema vendor.dependabot .github/dependabot.yml
	check-jsonschema --quiet --builtin-schema vendor.gitlab-ci --data-transform gitlab-ci .gitlab-ci.yml
	zizmor --offline --quiet .github

lock: # requirements.lock is for the image; requirements-dev.lock adds the tools for development
	$(COMPILE) --upgrade pyproject.toml --output-file requirements.lock
	$(COMPILE) --group dev --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock
