# One image for Prefect's server, MLflow's server, the worker and the dashboard.
# For wheels of another index (CPU alone, another CUDA): --build-arg PIP_EXTRA_INDEX_URL=...
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS build
ARG PIP_EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/lori
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY lori_core lori_core
COPY registry registry
COPY dashboard dashboard
COPY flows flows
RUN /opt/lori/bin/pip install -c constraints.txt pip setuptools \
 && /opt/lori/bin/pip install -c constraints.txt '.[stack]'

FROM ${PYTHON}
RUN groupadd --gid 10001 lori \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin lori \
 && install -d -o lori -g lori -m 0700 /var/lib/lori /var/lib/mlflow \
 && install -d -o lori -g lori -m 0755 /drop
COPY --from=build /opt/lori /opt/lori
COPY deploy/mlflow-auth.ini /etc/lori/mlflow-auth.ini
ENV PATH=/opt/lori/bin:/usr/local/bin:/usr/bin:/bin \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DO_NOT_TRACK=true \
    HF_HUB_OFFLINE=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    MLFLOW_DISABLE_TELEMETRY=true \
    PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_SERVER_ALLOW_EPHEMERAL_MODE=false \
    PREFECT_HOME=/tmp/prefect
USER 10001:10001
WORKDIR /tmp
CMD ["lori", "--help"]
