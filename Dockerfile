# syntax=docker/dockerfile:1
# The base is one image and no other, so its digest is wanted:
#   docker buildx imagetools inspect python:3.12-slim-bookworm     # says it
#   docker build --build-arg PYTHON_DIGEST=sha256:… --tag metricsmith:0.1.0 .
ARG PYTHON_IMAGE=docker.io/library/python:3.12-slim-bookworm
ARG PYTHON_DIGEST

FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Libraries first: they change less often than the sources. No sdist is built, every file has its hash.
COPY deploy/requirements.lock deploy/build-requirements.lock deploy/
RUN python -m venv --without-pip /opt/metricsmith \
    && pip --python /opt/metricsmith install --require-hashes --only-binary :all: -r deploy/requirements.lock \
    && pip install --require-hashes --only-binary :all: -r deploy/build-requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/metricsmith install --no-deps --no-index /wheels/*.whl

FROM ${PYTHON_IMAGE}@${PYTHON_DIGEST}
LABEL org.opencontainers.image.title="metricsmith" \
      org.opencontainers.image.description="Collects, keeps, derives and ships custom metrics" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing here installs anything: pip goes, too. The data folder is its user's, so that new volumes are.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip \
    && groupadd --gid 10001 metricsmith \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/metricsmith --shell /usr/sbin/nologin metricsmith \
    && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/metricsmith
COPY --from=build /opt/metricsmith /opt/metricsmith
ENV PATH=/opt/metricsmith/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    METRICSMITH_STORAGE_PATH=/var/lib/metricsmith
# A number, so that a cluster sees that it is not root.
USER 10001:10001
WORKDIR /var/lib/metricsmith
EXPOSE 9480
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["/opt/metricsmith/bin/metricsmith", "health"]
ENTRYPOINT ["/opt/metricsmith/bin/metricsmith"]
CMD ["run"]
