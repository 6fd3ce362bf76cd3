# The MONAI Application Package. Built by `make map`, which fetches the wheels first; needs no network.
# BASE_IMAGE: a Debian or Ubuntu with Python 3.10 to 3.13, the one that the wheels are for; by name@sha256:... it stays
# the same whoever moves the tag.
ARG BASE_IMAGE=python:3.11-slim-bookworm

# The layers that change seldom come first; wheels and tools stay behind in this stage.
FROM ${BASE_IMAGE} AS dependencies
ARG WHEELS=wheels/cpu
COPY ${WHEELS}/ /wheels/
COPY map/install.sh map/not-needed.txt map/trim.sh /build/
RUN sh /build/install.sh /wheels /opt/nsn2n /opt/tools \
    && /opt/nsn2n/bin/python -m pip uninstall --quiet --yes --requirement /build/not-needed.txt \
    && sh /build/trim.sh /opt/nsn2n
# Holoscan's wheel finishes its installation at the first start of Python, which must be able to write then. The
# imports show that nothing needed was removed.
RUN /opt/nsn2n/bin/python -c pass \
    && LD_LIBRARY_PATH="$(echo /opt/nsn2n/lib/python3*/site-packages/nvidia/cu13/lib)" \
        /opt/nsn2n/bin/python -c 'import torch, monai.deploy.core, skimage.restoration, highdicom, yaml'
COPY requirements.txt /build/
COPY map/licenses.py map/sbom.py /build/map/
COPY nsn2n/report/vendor/ /build/nsn2n/report/vendor/
WORKDIR /build
ARG VERSION
RUN /opt/nsn2n/bin/python -m map.licenses /third-party \
    && /opt/tools/bin/python -m map.sbom image /sbom.cdx.json --version "${VERSION}" --lock /wheels/lock.txt \
        --packages "$(echo /opt/nsn2n/lib/python3*/site-packages)"

FROM ${BASE_IMAGE}
COPY --from=dependencies /opt/nsn2n /opt/nsn2n
COPY --from=dependencies /third-party /opt/holoscan/docs/third-party
COPY nsn2n/report/vendor/LICENSE.niivue.txt /opt/holoscan/docs/third-party/
COPY --from=dependencies /sbom.cdx.json /opt/holoscan/docs/sbom.cdx.json

# HOME and USER: PyTorch asks for both, and a user id that only the container knows has neither.
ENV PATH=/opt/nsn2n/bin:$PATH \
    PYTHONPATH=/opt/holoscan/lib \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    USER=nsn2n \
    HOLOSCAN_INPUT_PATH=/var/holoscan/input \
    HOLOSCAN_OUTPUT_PATH=/var/holoscan/output \
    HOLOSCAN_WORKDIR=/var/holoscan \
    HOLOSCAN_APPLICATION=/opt/holoscan/app \
    HOLOSCAN_MODEL_PATH=/opt/holoscan/models \
    HOLOSCAN_DOCS_PATH=/opt/holoscan/docs \
    HOLOSCAN_CONFIG_PATH=/var/holoscan/app.yaml \
    HOLOSCAN_APP_MANIFEST_PATH=/etc/holoscan/app.json \
    HOLOSCAN_PKG_MANIFEST_PATH=/etc/holoscan/pkg.json \
    HOLOSCAN_LOGS_PATH=/var/holoscan/logs \
    HOLOSCAN_TIMEOUT=0

# app.config: the name that the specification has; app.yaml: the one of holoscan-cli 4.
# Folders that a container without mounts can use too, whoever its user is.
RUN mkdir -p /etc/holoscan /opt/holoscan/lib /opt/holoscan/docs \
        /var/holoscan/input /var/holoscan/output /var/holoscan/logs \
    && chmod 1777 /var/holoscan/output /var/holoscan/logs \
    && ln -s app.yaml /var/holoscan/app.config
WORKDIR /var/holoscan

COPY LICENSE README.md CITATION.cff /opt/holoscan/docs/
COPY docs/ /opt/holoscan/docs/docs/
COPY map/entrypoint.py map/manifests.py map/require_cuda.py /opt/holoscan/map/
COPY app.yaml /var/holoscan/app.yaml
COPY models/ /opt/holoscan/models/
COPY nsn2n/ /opt/holoscan/lib/nsn2n/
COPY operators/ /opt/holoscan/lib/nsn2n/operators/
COPY app/ /opt/holoscan/app/
ARG GPU=0
ARG GPU_MEMORY=
RUN test "${GPU}" != 1 || python3 /opt/holoscan/map/require_cuda.py
# The names under which pyproject.toml installs the folders. With bytecode, since nothing can be written later.
RUN ln -s /opt/holoscan/app /opt/holoscan/lib/nsn2n/app \
    && ln -s /opt/holoscan/models/nsn2n /opt/holoscan/lib/nsn2n/bundle \
    && python3 -m compileall -q /opt/holoscan/lib /opt/holoscan/app /opt/holoscan/map \
    && python3 /opt/holoscan/map/manifests.py /var/holoscan/app.yaml /opt/holoscan/models /etc/holoscan \
        --gpu "${GPU}" --gpu-memory "${GPU_MEMORY}" \
    && chmod -R a+rX /etc/holoscan /opt/holoscan /var/holoscan/app.yaml

ARG VERSION
ARG TAG
ARG BASE_IMAGE
ARG BASE_DIGEST
LABEL org.opencontainers.image.title="nsn2n" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0 AND BSD-2-Clause" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}" \
      org.nvidia.holoscan="4.2.0" \
      org.monai.deploy.app-sdk="4.0.0" \
      base="${BASE_IMAGE}" \
      tag="${TAG}"

USER 1000:1000
# -I and -S: neither the environment nor site-packages matter to it, and it starts in a few milliseconds.
ENTRYPOINT ["python3", "-I", "-S", "/opt/holoscan/map/entrypoint.py"]
