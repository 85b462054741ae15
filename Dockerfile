# One image for all programs; the command chooses. Build: docker build -t newsfeed .
ARG BASE=python:3.11.14-slim-bookworm

FROM ${BASE} AS build
ENV UV_PROJECT_ENVIRONMENT=/opt/newsfeed UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy
RUN pip install --no-cache-dir --root-user-action=ignore uv==0.13.8
WORKDIR /src
COPY pyproject.toml uv.lock ./
COPY protos/pyproject.toml protos/
RUN uv sync --frozen --no-default-groups --no-install-workspace
COPY README.md LICENSE ./
COPY protos protos
COPY svckit svckit
COPY user_svc user_svc
COPY content_svc content_svc
COPY feed_svc feed_svc
COPY gateway gateway
RUN uv sync --frozen --no-default-groups --no-editable

FROM ${BASE}
RUN useradd --system --uid 10001 --no-create-home newsfeed
COPY --from=build /opt/newsfeed /opt/newsfeed
ENV PATH=/opt/newsfeed/bin:$PATH PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8080 50051 50052 50053
CMD ["python", "-m", "user_svc"]
