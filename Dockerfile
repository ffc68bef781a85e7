# The proxy alone, on pinned packages, as a user without name or rights. Works with a read-only root filesystem.
#   docker build -t media-cache-proxy .
#   docker build -t media-cache-proxy:envoy --target envoy .     # the same, with TRANSPORT=envoy
#   docker run --read-only -p 50066:50066 -e MEDIA_SERVICE_ADDR=media:50056 -e REDIS_ADDR=redis:6379 media-cache-proxy

FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY constraints.txt ./
# The venv has no pip: nothing that installs goes into the image that runs.
RUN pip install -c constraints.txt --upgrade pip setuptools && python -m venv --without-pip /app
COPY pyproject.toml README.md ./
COPY proxy proxy
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /app/bin/python install -c constraints.txt --only-binary :all: \
        "media-cache-proxy[webhook] @ file://$(ls /wheels/*.whl)"

FROM build AS build-envoy
RUN pip --python /app/bin/python install -c constraints.txt --only-binary :all: \
        "media-cache-proxy[envoy] @ file://$(ls /wheels/*.whl)"

FROM python:3.11-slim-bookworm AS runtime
ARG VERSION=dev
LABEL org.opencontainers.image.title="media-cache-proxy" \
      org.opencontainers.image.description="A transparent gRPC caching sidecar for media.MediaService" \
      org.opencontainers.image.version="${VERSION}"
# The base image comes without the standard library's bytecode; nothing could be written at run time.
RUN python -m compileall -q -j 0 -x '/(lib2to3|test)/' /usr/local/lib/python3.11
# In a container callers come from outside of it; a sidecar's LISTEN_ADDR says 127.0.0.1 again.
ENV PATH=/app/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 LISTEN_ADDR=0.0.0.0:50066
USER 65532:65532
EXPOSE 50066 9464
STOPSIGNAL SIGTERM
# Asks /healthz where PROBE_ADDR has it; with no PROBE_ADDR there is nobody to ask.
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

FROM runtime
COPY --from=build /app /app
