# comfysup over any image that has, or can install, Python 3.11: a plain Debian by default, your ComfyUI or
# CUDA image with --build-arg BASE_IMAGE=….
ARG BASE_IMAGE=docker.io/library/debian:bookworm-slim

FROM ${BASE_IMAGE} AS build
USER root
WORKDIR /src
# What apt brings is as new as the base image; what pip brings is pinned.
# hadolint ignore=DL3008
RUN set -e; \
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then \
      command -v apt-get >/dev/null \
      || { echo "comfysup needs Python 3.11 with venv in an image that has no apt-get" >&2; exit 1; }; \
      apt-get update -q; \
      apt-get install -qy --no-install-recommends python3 python3-venv; \
    fi; \
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
    || { echo "comfysup needs Python 3.11 or newer; this base image has $(python3 --version)" >&2; exit 1; }
COPY pyproject.toml constraints.txt README.md ./
COPY comfysup comfysup
# Built by a virtual environment that is thrown away, so that no installer stays in the one that is kept.
RUN set -e; python3 -m venv /build; python3 -m venv --without-pip /opt/comfysup; \
    PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
    /build/bin/python -m pip --python /opt/comfysup/bin/python install --no-cache-dir --quiet .

FROM ${BASE_IMAGE}
ARG BASE_IMAGE
# The tests compare it with the program's own.
ARG VERSION=0.2.0
ARG REVISION=
USER root
# The words of $missing are meant.
# hadolint ignore=DL3008,SC2086
RUN set -e; missing=; \
    command -v tini >/dev/null || missing=tini; \
    command -v python3 >/dev/null || missing="$missing python3"; \
    if [ -n "$missing" ]; then \
      command -v apt-get >/dev/null \
      || { echo "comfysup needs in an image without apt-get: $missing" >&2; exit 1; }; \
      apt-get update -q; \
      apt-get install -qy --no-install-recommends $missing; \
      rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/apt /var/log/dpkg.log; \
    fi
COPY --from=build /opt/comfysup /opt/comfysup
COPY entrypoint.sh /entrypoint.sh
COPY instances.json /instances.json
# --version here shows that this stage has the Python of the other.
RUN set -e; ln -s /opt/comfysup/bin/comfysup /usr/local/bin/comfysup; \
    for names in start_comfyui:start stop_comfyui:stop start_comfyui_multi:multi; do \
      printf '#!/bin/sh\nexec /opt/comfysup/bin/comfysup legacy %s "$@"\n' "${names#*:}" > "/${names%:*}.sh"; \
      chmod 755 "/${names%:*}.sh"; \
    done; \
    chmod 755 /entrypoint.sh; chmod 644 /instances.json; \
    mkdir -p /workspace; chmod 1777 /workspace; \
    comfysup --version

LABEL org.opencontainers.image.title="comfysup" \
      org.opencontainers.image.description="Starts, watches, restarts and stops ComfyUI instances" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}"
WORKDIR /workspace
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s --retries=3 CMD ["/opt/comfysup/bin/comfysup", "health"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "--", "/entrypoint.sh"]
# What a base image would run by itself is not run.
CMD []
