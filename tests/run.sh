#!/usr/bin/env bash
# Installs what the tests need and runs all of them. Arguments go to `cargo nextest run`,
# such as the name of a test. PGSTOW_TEST_LONG=1 takes the long form of repeated and large cases.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

tests/setup.sh
# Servers that start, stop and sync leave a third of the processors idle.
export NEXTEST_TEST_THREADS="${NEXTEST_TEST_THREADS:-$(($(nproc) * 3 / 2))}"
cargo nextest run --locked "$@"
