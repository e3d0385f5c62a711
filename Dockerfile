# syntax=docker/dockerfile:1
# One image for every stage: `docker build --tag progan .`, then `docker run progan --help`.
#
# BASE_IMAGE is any Debian or Ubuntu with Python 3.11 to 3.13, or one that can install it: the lock's torch
# brings its own CUDA libraries, so a slim base trains on a GPU as well as a CUDA one.
# Behind a company's certificate authority:
#   docker build --secret id=ca-bundle,src=/etc/ssl/certs/ca-certificates.crt .
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS base
RUN python3 -m venv --help > /dev/null 2>&1 || { \
        apt-get update \
        && apt-get install --yes --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; \
    }

FROM base AS dependencies
COPY requirements.lock .
RUN --mount=type=secret,id=ca-bundle \
    if [ -f /run/secrets/ca-bundle ]; then export PIP_CERT=/run/secrets/ca-bundle; fi \
    && python3 -m venv /opt/progan \
    && /opt/progan/bin/pip install --no-cache-dir --require-hashes --requirement requirements.lock

FROM dependencies AS package
WORKDIR /source
COPY pyproject.toml README.md ./
COPY progan progan
COPY components components
COPY pipelines pipelines
RUN /opt/progan/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels .

FROM base
RUN useradd --uid 10001 --no-create-home --home-dir /tmp progan
COPY --from=dependencies /opt/progan /opt/progan
RUN --mount=type=bind,from=package,source=/wheels,target=/wheels \
    /opt/progan/bin/pip install --no-cache-dir --no-deps --no-index /wheels/*.whl

# Only /work and /tmp are written to: the root file system can be read-only.
ENV PATH=/opt/progan/bin:$PATH HOME=/tmp USER=progan PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /work
RUN chown progan /work
USER 10001:10001
ARG GIT_COMMIT=none
LABEL org.opencontainers.image.revision=$GIT_COMMIT
ENV PROGAN_GIT_COMMIT=$GIT_COMMIT
ENTRYPOINT ["progan"]
