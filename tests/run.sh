#!/usr/bin/env bash
# Installs what the tests need and runs all of them. Arguments go to `cargo nextest run`,
# such as the name of a test. PGSTOW_TEST_LONG=1 takes the long form of repeated and large cases.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests/setup.sh

# Tests make and remove thousands of files. In memory that takes half the time: their folders are
# there, where it is much and programs may run. Those of failed tests stay.
gigabytes() { awk '/^MemAvailable:/ { print int($2 / 1048576) }' /proc/meminfo; }
shm=$(findmnt --noheadings --output FSTYPE,OPTIONS /dev/shm || true)
own=
if [[ -z ${PGSTOW_TEST_DIR:-} && $shm == tmpfs* && $shm != *noexec* ]] &&
    (($(gigabytes) >= 12 && $(df --output=avail --block-size=1G /dev/shm | tail -n 1) >= 8)); then
    own=$(mktemp -d /dev/shm/itXXX)
    chmod 755 "$own"
    export PGSTOW_TEST_DIR=$own
fi

# Servers that start, stop and sync leave a third of the processors idle.
export NEXTEST_TEST_THREADS="${NEXTEST_TEST_THREADS:-$(($(nproc) * 3 / 2))}"
cargo nextest run --locked "$@"
[[ -z $own ]] || rm -rf "$own"
