# One image, four commands: gateway, orchestrator, worker, migrate.
#
#   docker build -t distriqueue:local .                  (--network host where only the host reaches a registry)
#   docker run --rm -e DISTRIQUEUE_DATABASE_URL=… distriqueue:local migrate
ARG PYTHON_IMAGE=python:3.13-slim

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS build
LABEL distriqueue.stage=build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
WORKDIR /src
# What changes least comes first: the locked dependencies are installed anew only when a lock changes.
COPY deploy/docker/requirements-build.lock requirements.lock ./
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock \
 && python -m venv /opt/distriqueue \
 && /opt/distriqueue/bin/pip install --require-hashes --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY distriqueue distriqueue
COPY gateway gateway
COPY orchestrator orchestrator
COPY workers workers
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /opt/distriqueue/bin/pip install --no-deps --no-index /wheel/*.whl \
 && /opt/distriqueue/bin/pip check \
 && /opt/distriqueue/bin/pip uninstall --yes pip

# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE}
LABEL distriqueue.stage=run \
      org.opencontainers.image.title=distriqueue \
      org.opencontainers.image.description="A distributed job platform: gateway, orchestrator, worker, migrate" \
      org.opencontainers.image.licenses=MIT
RUN groupadd --system --gid 10001 distriqueue \
 && useradd --system --uid 10001 --gid distriqueue --no-create-home --home-dir /app --shell /usr/sbin/nologin distriqueue \
 && install -d -o distriqueue -g distriqueue /var/lib/distriqueue /app
COPY --from=build /opt/distriqueue /opt/distriqueue
COPY deploy/docker/command deploy/docker/healthy.py /opt/distriqueue/image/
RUN for name in gateway orchestrator worker migrate healthy; do ln -s ../image/command "/opt/distriqueue/bin/$name"; done
ENV PATH=/opt/distriqueue/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    DISTRIQUEUE_GATEWAY_HOST=0.0.0.0 DISTRIQUEUE_ORCHESTRATOR_HOST=0.0.0.0 \
    DISTRIQUEUE_DATA_DIR=/var/lib/distriqueue DISTRIQUEUE_LOG_FORMAT=json
# Your handlers go here: `worker shop:registry` finds /app/shop.py.
WORKDIR /app
# By number, so that Kubernetes' runAsNonRoot can tell that it is not root.
USER 10001:10001
EXPOSE 8080 8081 9081 9100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["healthy"]
CMD ["gateway"]
