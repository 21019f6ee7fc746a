# One image for every part of the service: the front desk without torch, the workshop with everything.
#   docker build --target api -t runaudit-api .
#   docker build --target worker -t runaudit-worker .
# docker-compose.yml builds and starts them. docs/deployment.md says what was tried and what was not.

FROM python:3.11-slim AS base
ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    RUNAUDIT_DATA_DIR=/data RUNAUDIT_WORK_DIR=/jobs
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin runaudit \
    && install -d -o runaudit -g runaudit /data /jobs
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY runaudit runaudit
COPY service service
COPY worker worker
COPY migrations migrations

FROM base AS api
# Editable, so that the migrations are found beside the packages as in a checkout; /src is root's and read-only.
RUN pip install -c constraints.txt -e '.[service]'
WORKDIR /
USER runaudit
EXPOSE 8000
CMD ["python", "-m", "runaudit_service.api"]

FROM base AS worker
# opencv-python draws windows, and its libraries are linked even where none is ever opened.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 libxcb1 \
    && rm -rf /var/lib/apt/lists/*
RUN pip install -c constraints.txt -e '.[worker]'
WORKDIR /
USER runaudit
CMD ["python", "-m", "runaudit_worker", "--queues", "cpu,gpu"]
