# docker build -t anyseek:cpu .
# docker build -t anyseek:gpu --build-arg EXTRAS=gpu,services,sources --build-arg "REQUIREMENTS=-c constraints.txt torch" .
# REQUIREMENTS are what pip installs first: all that the lock has for these extras, each file by its hash. Other extras, or
# another build of torch, need REQUIREMENTS of their own, as above.
FROM python:3.11-slim AS build
ARG EXTRAS=cpu,services,sources
ARG REQUIREMENTS="--require-hashes -r requirements.lock"
RUN python -m venv /opt/anyseek
ENV PATH=/opt/anyseek/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /source
# The largest part, which seldom changes, has a layer of its own.
COPY constraints.txt requirements.lock ./
RUN pip install $REQUIREMENTS
COPY pyproject.toml README.md LICENSE ./
COPY anyseek anyseek
COPY api api
COPY indexer indexer
COPY migrations migrations
COPY model model
COPY search search
COPY workers workers
RUN pip install -c constraints.txt ".[$EXTRAS]"

FROM python:3.11-slim
RUN useradd --uid 10001 --home-dir /data --no-create-home anyseek && install -d -o anyseek -g anyseek /data
COPY --from=build /opt/anyseek /opt/anyseek
ENV PATH=/opt/anyseek/bin:$PATH ANYSEEK_HOME=/data PYTHONUNBUFFERED=1
USER anyseek
VOLUME /data
EXPOSE 8765
HEALTHCHECK --interval=30s --timeout=5s --start-period=5m \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/readyz', timeout=4)"]
ENTRYPOINT ["anyseek"]
# Beyond loopback only with an API key: docker run … keys create NAME --scope admin
CMD ["serve", "--host", "0.0.0.0"]
