# The production image: web, worker and beat are the same image with different commands (docker-compose.yml).
FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# pg_dump and pg_restore as new as the server of docker-compose.yml, from PostgreSQL's own packages for Debian.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates postgresql-common \
    && /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh -y \
    && apt-get install -y --no-install-recommends postgresql-client-18 && rm -rf /var/lib/apt/lists/*
WORKDIR /app
# requirements-otel.txt has what OTEL_EXPORTER_OTLP_ENDPOINT needs.
ARG REQUIREMENTS=requirements.txt
COPY requirements.txt requirements-otel.txt ./
RUN pip install --no-cache-dir --require-hashes -r $REQUIREMENTS
COPY manage.py ./
COPY memory_site memory_site
COPY memories memories
COPY sessions_app sessions_app
COPY ingestion ingestion
COPY memory_client memory_client
COPY templates templates
# New volumes at /backups and /metrics get the owner and mode of these directories.
RUN useradd --system --no-create-home --uid 999 memory && install -d -m 0700 -o memory -g memory /backups /metrics
USER memory
EXPOSE 8000
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0", "--no-worker"]
