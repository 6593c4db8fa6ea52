#!/usr/bin/env bash
# Write requirements.lock and deploy/*.lock anew from pyproject.toml: exact versions with hashes, for Linux and macOS.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m pip install --quiet uv
.venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-annotate --group pyproject.toml:dev --extra docs --output-file requirements.lock pyproject.toml tools/build-requirements.in

# What the image holds, in the same versions, and what builds it.
.venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-annotate --extra kafka --extra oci --extra notify --constraints requirements.lock \
    --output-file deploy/requirements.lock pyproject.toml
.venv/bin/python -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
    --no-annotate --constraints requirements.lock --output-file deploy/build-requirements.lock tools/build-requirements.in
