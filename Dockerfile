# classtune serve in a container, on the processor, as a user without rights.
#   docker build -t classtune-serve .
#   docker run -p 8080:8080 -v "$PWD/tickets:/bundles/tickets:ro" -v "$PWD/keys:/keys:ro" classtune-serve
FROM python:3.11-slim

# Where pip finds a build of torch without CUDA (2 GB smaller); empty: as the package index has it.
ARG TORCH_INDEX=""
RUN useradd --create-home --uid 10001 classtune
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE CHANGELOG.md ./
COPY src ./src
RUN pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c constraints.txt ".[serve]"

USER classtune
EXPOSE 8080
STOPSIGNAL SIGTERM
# No key is needed for /health.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=2)"]
ENTRYPOINT ["classtune", "serve"]
CMD ["/bundles/tickets", "--host", "0.0.0.0", "--port", "8080", "--keys", "/keys"]
