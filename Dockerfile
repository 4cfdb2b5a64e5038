# The production image: web, worker and beat are the same image with different commands (docker-compose.yml).
FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir --require-hashes -r requirements.txt
COPY manage.py ./
COPY memory_site memory_site
COPY memories memories
COPY sessions_app sessions_app
COPY ingestion ingestion
COPY templates templates
RUN useradd --system --no-create-home memory
USER memory
EXPOSE 8000
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0", "--no-worker"]
