# The whole image has make, the slim one does not; both have the same Python at the same place.
FROM python:3.13 AS build
WORKDIR /src
COPY . .
RUN make install PYTHON=python3 VENV=/opt/creditdesk EDITABLE=

FROM python:3.13-slim
COPY --from=build /opt/creditdesk /opt/creditdesk
ENV PATH=/opt/creditdesk/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    CREDITDESK_HOST=0.0.0.0
# By number, so that an orchestrator can tell that it is not root.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
  CMD ["python", "-c", "import os, urllib.request; urllib.request.urlopen(f\"http://127.0.0.1:{os.environ.get('CREDITDESK_PORT', '8000')}/healthz\", timeout=2)"]
# DATABASE_URL and CREDITDESK_OIDC_* come with `docker run`; stopped by SIGTERM.
CMD ["creditdesk", "serve"]
