#!/usr/bin/env bash
# Prepare everything that the Makefile's targets need, without root and without touching the system:
#   .venv/      the virtual environment, from requirements.lock
#   .services/  real servers for tests and benchmarks, unpacked (not installed) from Debian's packages,
#               so that no packaged service is ever started by its maintainer script; and Apache Kafka,
#               the jars of tools/kafka.lock through Maven
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
PACKAGES="prometheus victoria-metrics prometheus-node-exporter prometheus-alertmanager influxdb"
MAVEN_COPY=org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies
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

# What this machine lacks for the named packages, dependencies included, is unpacked; nothing is installed.
unpack_missing() { # destination, package ...
    local destination=$1 deb link
    shift
    rm -f "$CACHE"/apt/archives/*.deb
    apt_private install --yes --no-install-recommends --download-only "$@" >/dev/null || return 1
    mkdir -p "$destination"
    for deb in "$CACHE"/apt/archives/*.deb; do dpkg -x "$deb" "$destination" && rm -f "$deb"; done
    # Java and Maven keep their settings in /etc, by absolute links.
    find "$destination" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
        [ -e "$destination$(readlink "$link")" ] && ln -sfn "$(realpath -s --relative-to="$(dirname "$link")" "$destination$(readlink "$link")")" "$link"
    done
    return 0
}

# Debian's Alertmanager reads its templates from a fixed folder outside, and does not start without them: the
# name becomes one of the same length that means its working directory.
relocate() {
    [ "$1" = prometheus-alertmanager ] || return 0
    LC_ALL=C sed -i 's|/usr/share/prometheus/alertmanager|./././././././././././././././././|g' "$SERVICES/root/usr/bin/$1"
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
        unpack_debian "$package" "$SERVICES/root" && relocate "$package" && touch "$SERVICES/.$package" || say "could not fetch $package: its tests will be skipped"
    done
}

java_home() { # prints the home of a Java that Kafka can run on: the unpacked one, or that on the PATH
    local java
    for java in "$PWD/$SERVICES"/root/usr/lib/jvm/*/bin/java "$(command -v java || true)"; do
        [ -x "$java" ] || continue
        [ "$("$java" -version 2>&1 | sed -nE 's/.*version "([0-9]+).*/\1/p')" -ge 17 ] 2>/dev/null || continue
        java=$(readlink -f "$java") && printf '%s\n' "${java%/bin/java}" && return
    done
    return 1
}

maven() { # quiet, with the user's own settings (mirrors), downloads kept in our cache
    local mvn
    mvn=$(command -v mvn || ls "$SERVICES/root/usr/share/maven/bin/mvn" 2>/dev/null) || return 1
    JAVA_HOME=$(java_home) "$mvn" -B -q -Dstyle.color=never -Dmaven.repo.local="$CACHE/maven" "$@" >&2
}

# The locked jars and nothing else: each is a dependency of its own, without what it depends on.
kafka_pom() {
    printf '<project><modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>kafka</artifactId>'
    printf '<version>1</version><packaging>pom</packaging><dependencies>\n'
    local sum group artifact version
    while IFS=' :' read -r sum group artifact version; do
        printf '<dependency><groupId>%s</groupId><artifactId>%s</artifactId><version>%s</version>' "$group" "$artifact" "$version"
        printf '<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions></dependency>\n'
    done < tools/kafka.lock
    printf '</dependencies></project>\n'
}

setup_kafka() {
    local want
    want=$(sha256sum < tools/kafka.lock)
    [ "$(cat "$SERVICES/.kafka" 2>/dev/null)" = "$want" ] && return
    mkdir -p "$CACHE" "$SERVICES/kafka"
    local missing=()
    command -v kcat >/dev/null || [ -e "$SERVICES/root/usr/bin/kcat" ] || missing+=(kcat)
    java_home >/dev/null || missing+=(default-jre-headless)
    command -v mvn >/dev/null || [ -e "$SERVICES/root/usr/share/maven/bin/mvn" ] || missing+=(maven)
    if [ ${#missing[@]} -gt 0 ]; then
        say "fetching what Kafka needs from Debian: ${missing[*]}"
        apt_private update && unpack_missing "$SERVICES/root" "${missing[@]}" || say "could not fetch ${missing[*]}"
    fi
    java_home >/dev/null || { say "no Java of version 17 or newer: tests that need Kafka will be skipped"; return; }
    say "fetching Apache Kafka through Maven: $(wc -l < tools/kafka.lock) jars (about 45 MB)"
    kafka_pom > "$SERVICES/kafka/pom.xml"
    rm -rf "$SERVICES/kafka/libs"
    maven -f "$SERVICES/kafka/pom.xml" "$MAVEN_COPY" -DoutputDirectory="$PWD/$SERVICES/kafka/libs" ||
        { say "could not fetch Kafka's jars through Maven: tests that need Kafka will be skipped"; return; }
    sed -E 's/^([0-9a-f]+) [^:]+:([^:]+):(.+)$/\1  \2-\3.jar/' tools/kafka.lock | (cd "$SERVICES/kafka/libs" && sha256sum --check --quiet) ||
        { rm -rf "$SERVICES/kafka/libs"; die "Kafka's jars are not those of tools/kafka.lock; they are removed"; }
    "$VENV/bin/python" -c 'import pathlib, tempfile; from metricsmith.testing import kafka
with tempfile.TemporaryDirectory() as folder: kafka.archive_classes(pathlib.Path(folder, "kafka"))' ||
        { say "Kafka does not start here: its tests will fail"; return; }
    printf '%s\n' "$want" > "$SERVICES/.kafka"
}

setup_python
if [ "${1:-}" = "--services" ]; then
    setup_services
    setup_kafka
fi
exit 0
