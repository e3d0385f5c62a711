# One image for every stage: `docker build --tag progan .`, then `docker run progan --help`.
#
# BASE_IMAGE: any Debian or Ubuntu that has Python 3.11 to 3.13 or can install it. The lock's torch brings
# CUDA's libraries along, so a slim base trains on GPUs; choose a CUDA base for its tools.
# Behind a company's certificate authority, give the build its bundle; none of it stays in the image:
#   docker build --secret id=ca-bundle,src=/etc/ssl/certs/ca-certificates.crt .
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS dependencies
RUN python3 -m ensurepip --version > /dev/null 2>&1 || { \
        apt-get update \
        && apt-get install --yes --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; \
    }
RUN useradd --uid 10001 --no-create-home --home-dir /tmp progan && install --directory --owner=progan /progan
COPY requirements.lock /opt/
RUN --mount=type=secret,id=ca-bundle \
    if [ -f /run/secrets/ca-bundle ]; then export PIP_CERT=/run/secrets/ca-bundle; fi \
    && python3 -m venv /opt/progan \
    && /opt/progan/bin/pip install --no-cache-dir --no-deps --require-hashes --requirement /opt/requirements.lock

FROM dependencies AS package
WORKDIR /source
COPY pyproject.toml README.md dvc.yaml ./
COPY progan progan
COPY components components
COPY pipelines pipelines
COPY presets presets
RUN /opt/progan/bin/pip install --no-cache-dir --no-deps --no-build-isolation --no-index --root=/installed .

FROM dependencies
COPY --from=package /installed /
# Only /progan and /tmp are written to: the root file system can be read-only.
ENV PATH=/opt/progan/bin:$PATH HOME=/tmp USER=progan PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# As progan/__init__.py has it, for a pod that loads torch or numpy before progan.
ENV OMP_WAIT_POLICY=PASSIVE OPENBLAS_THREAD_TIMEOUT=4
WORKDIR /progan
USER 10001:10001
ARG GIT_COMMIT=none
LABEL org.opencontainers.image.revision=$GIT_COMMIT
ENV PROGAN_GIT_COMMIT=$GIT_COMMIT
ENTRYPOINT ["progan"]
