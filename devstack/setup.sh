#!/bin/sh
# Makes .venv with exactly what uv.lock names. Needs Python 3.11+ with pip, or uv; no root, nothing is
# installed outside this folder. PYTHON=... chooses the interpreter.
set -eu

UV_VERSION=0.13.8

find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
}

python=$(find_python)
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed, and ${PYTHON:-python3} is not. Install one, or name it:" >&2
    echo "  make setup PYTHON=/path/to/python3.12" >&2
    exit 1
fi

# A user without a home of their own (a service account, a container) keeps the caches here.
if [ ! -w "${HOME:-/nonexistent}" ]; then
    export UV_CACHE_DIR="$PWD/build/cache/uv" PIP_CACHE_DIR="$PWD/build/cache/pip"
fi

uv=$(command -v uv || true)
if [ -z "$uv" ]; then
    uv=build/uv-$UV_VERSION/bin/uv
    if [ ! -x "$uv" ]; then
        echo "Fetching uv $UV_VERSION, which installs the rest ..."
        if ! "$python" -m pip --version >/dev/null 2>&1; then
            echo "$python has no pip. Install it (python3-pip), or install uv." >&2
            exit 1
        fi
        "$python" -m pip install --quiet --disable-pip-version-check --root-user-action ignore \
            --target "build/uv-$UV_VERSION" "uv==$UV_VERSION"
    fi
fi

echo "Setting up .venv ..."
UV_PYTHON_DOWNLOADS=never "$uv" sync --quiet --frozen --python "$python"
