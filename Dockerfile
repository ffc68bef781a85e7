# The proxy with pinned packages, run as an unprivileged user without a name. It works with a read-only root filesystem.
#   docker build -t media-cache-proxy .                                  # the proxy: sidecar, standalone, commands
#   docker build -t media-cache-proxy:envoy --target envoy .             # the same, with TRANSPORT=envoy
#   docker build -t media-cache-proxy:webhook --target webhook .         # the webhook that injects it on Kubernetes
#   docker run --read-only -p 50066:50066 -e MEDIA_SERVICE_ADDR=media:50056 -e REDIS_ADDR=redis:6379 media-cache-proxy
#   (the target envoy also needs --tmpfs /tmp, for Envoy's sockets)
# scripts/image builds all of them without a container engine or a registry.

# Both bases have Python 3.11; the first one also needs the module venv.
ARG BUILD_BASE=docker.io/library/python:3.11-slim-bookworm
ARG RUN_BASE=docker.io/library/python:3.11-slim-bookworm

# hadolint ignore=DL3006
FROM ${BUILD_BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY constraints.txt ./
# pip stays in this stage: /app has none.
RUN python3 -m venv /pip && /pip/bin/pip install -c constraints.txt --upgrade pip setuptools \
    && python3 -m venv --without-pip /app
COPY pyproject.toml setup.py README.md ./
ARG PROJECT_URL=
COPY proxy proxy
# Many platforms set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf for every pod, which must not end a sidecar.
RUN /pip/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /pip/bin/pip --python /app/bin/python install -c constraints.txt --only-binary :all: \
        "media-cache-proxy[otlp-http] @ file://$(ls /wheels/*.whl)"

FROM build AS build-envoy
RUN /pip/bin/pip --python /app/bin/python install -c constraints.txt --only-binary :all: \
        "media-cache-proxy[envoy] @ file://$(ls /wheels/*.whl)"

FROM build AS build-webhook
RUN /pip/bin/pip --python /app/bin/python install -c constraints.txt --only-binary :all: \
        "media-cache-proxy[webhook] @ file://$(ls /wheels/*.whl)"

# hadolint ignore=DL3006
FROM ${RUN_BASE} AS runtime
ARG VERSION=dev
ARG REVISION=unknown
ARG PROJECT_URL=unknown
LABEL org.opencontainers.image.title="media-cache-proxy" \
      org.opencontainers.image.description="A transparent gRPC caching sidecar for media.MediaService" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${PROJECT_URL}"
# Removes everything that can install packages. The standard library is compiled now, because a read-only container cannot write bytecode.
RUN python3 -c "import glob, shutil, sysconfig; lib = sysconfig.get_path('stdlib'); \
[shutil.rmtree(path) for name in ('ensurepip', 'site-packages/pip*', 'site-packages/setuptools*', 'site-packages/wheel*') \
for path in glob.glob(f'{lib}/{name}')]" \
    && rm -f /usr/local/bin/pip* /usr/local/bin/wheel \
    && python3 -m compileall -q -j 0 -x '/(lib2to3|test)/' "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
# A container's callers are outside of it; the injector sets a sidecar's LISTEN_ADDR to 127.0.0.1 again.
ENV PATH=/app/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LISTEN_ADDR=0.0.0.0:50066
USER 65532:65532
EXPOSE 50066 9464
STOPSIGNAL SIGTERM
# Requests /healthz at PROBE_ADDR. If PROBE_ADDR is empty, there is nothing to check.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["python", "-c", "\
import os, sys, http.client\n\
host, _, port = os.environ.get('PROBE_ADDR', '0.0.0.0:9464').rpartition(':')\n\
if not port: sys.exit(0)\n\
host = {'0.0.0.0': '127.0.0.1', '[::]': '::1', '': '127.0.0.1'}.get(host, host.strip('[]'))\n\
probe = http.client.HTTPConnection(host, int(port), timeout=2)\n\
probe.request('GET', '/healthz')\n\
sys.exit(probe.getresponse().status != 200)"]
ENTRYPOINT ["media-cache-proxy"]
CMD ["serve"]

FROM runtime AS envoy
COPY --from=build-envoy /app /app
ENV TRANSPORT=envoy

FROM runtime AS webhook
COPY --from=build-webhook /app /app

FROM runtime AS proxy
COPY --from=build /app /app
