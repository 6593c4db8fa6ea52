#!/usr/bin/env bash
# Prepare everything that the Makefile's targets need, without root and without touching the system:
#   .venv/      the virtual environment, from requirements.lock
#   .services/  real servers for tests and benchmarks, unpacked (not installed) from Debian's packages,
#               so that no packaged service is ever started by its maintainer script
# A second run with nothing changed does nothing. `--services` adds the servers.
set -euo pipefail
cd "$(dirname "$0")/.."

# text, colour: colours are for people at a terminal who do not object (https://no-color.org).
label() { if [ -t 2 ] && [ -z "${NO_COLOR:-}" ]; then printf '\033[%sm%s\033[0m' "$2" "$1" >&2; else printf '%s' "$1" >&2; fi; }
say() { label '[setup]' 36; printf ' %s\n' "$*" >&2; }
die() { label '[setup]' 31; printf ' %s\n' "$*" >&2; exit 1; }

PYTHON=${PYTHON:-python3}
VENV=.venv
SERVICES=.services
PACKAGES="prometheus victoria-metrics prometheus-node-exporter prometheus-alertmanager"
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/metricsmith-setup

# Debian's package lists and archives in a folder of our own: works as any user, changes nothing outside.
apt_private() {
    command -v apt-get >/dev/null || return 1
    mkdir -p "$CACHE/apt/lists/partial" "$CACHE/apt/archives/partial"
    apt-get -q=2 -o Dir::State::lists="$CACHE/apt/lists" -o Dir::Cache="$CACHE/apt" \
        -o Dir::Cache::archives="$CACHE/apt/archives" -o APT::Sandbox::User="" -o Debug::NoLocking=1 "$@"
}

unpack_debian() { # package, destination
    (cd "$CACHE" && apt_private download "$1") || return 1
    local deb
    deb=$(ls -t "$CACHE/$1"_*.deb | head -n 1)
    mkdir -p "$2" && dpkg -x "$deb" "$2" && rm -f "$deb"
}

make_venv() {
    "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || die "Python 3.11 or newer is needed, $PYTHON is $($PYTHON -V 2>&1)"
    say "creating the virtual environment in $VENV"
    if "$PYTHON" -c 'import ensurepip' 2>/dev/null; then
        "$PYTHON" -m venv "$VENV"
        return
    fi
    # Debian's bare python3 has no ensurepip: borrow pip from its wheel package.
    say "this Python has no ensurepip; fetching pip from Debian's python3-pip-whl"
    "$PYTHON" -m venv --without-pip "$VENV"
    mkdir -p "$CACHE"
    apt_private update || die "cannot read Debian's package lists; install python3-venv by hand"
    unpack_debian python3-pip-whl "$CACHE/pip-whl" || die "cannot fetch python3-pip-whl; install python3-venv by hand"
    "$VENV/bin/python" "$(ls "$CACHE"/pip-whl/usr/share/python-wheels/pip-*.whl | head -n 1)/pip" install --quiet --no-index \
        --find-links "$CACHE/pip-whl/usr/share/python-wheels" pip
}

setup_python() {
    local stamp="$VENV/.stamp" want
    want=$(cat requirements.lock pyproject.toml | sha256sum)
    [ -x "$VENV/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ] && return
    [ -x "$VENV/bin/python" ] || make_venv
    say "installing Python packages from requirements.lock (about a minute the first time)"
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
    "$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
    printf '%s\n' "$want" > "$stamp"
}

setup_services() {
    local missing=()
    for package in $PACKAGES; do [ -e "$SERVICES/.$package" ] || missing+=("$package"); done
    [ ${#missing[@]} -eq 0 ] && return
    if ! command -v apt-get >/dev/null; then
        say "no apt-get here: tests that need ${missing[*]} will be skipped, with a reason"
        return
    fi
    say "fetching real servers for the tests from Debian: ${missing[*]} (about 50 MB)"
    mkdir -p "$CACHE" "$SERVICES"
    apt_private update
    for package in "${missing[@]}"; do
        unpack_debian "$package" "$SERVICES/root" && touch "$SERVICES/.$package" || say "could not fetch $package: its tests will be skipped"
    done
}

setup_python
[ "${1:-}" = "--services" ] && setup_services
exit 0
