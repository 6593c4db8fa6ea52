#!/usr/bin/env bash
# Write tools/kafka.lock anew for the Kafka version given: every jar that a broker needs, with its SHA-256.
# slf4j-simple is not among Kafka's dependencies; without it a broker logs nothing.
# Not 4.4.0: its kafka-tools-api was never published.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:?usage: tools/lock_kafka.sh VERSION}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/pom.xml" <<XML
<project><modelVersion>4.0.0</modelVersion><groupId>local</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
<dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
</dependencies></project>
XML
mvn -B -q -f "$work/pom.xml" org.apache.maven.plugins:maven-dependency-plugin:3.6.1:list -DincludeScope=runtime -DoutputFile="$work/list" -DoutputAbsoluteArtifactFilename=true
sed -nE 's/^ *([^: ]+):([^:]+):jar:([^:]+):[a-z]+:([^ ]+\.jar).*$/\1:\2:\3 \4/p' "$work/list" | LC_ALL=C sort | while read -r name file; do
    printf '%s %s\n' "$(sha256sum < "$file" | cut -d ' ' -f 1)" "$name"
done > tools/kafka.lock
wc -l tools/kafka.lock
