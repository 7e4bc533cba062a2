#!/usr/bin/env bash
# Installs what the benchmarks need on Debian 12, as root, and builds pgstow as it is released.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

tests/setup.sh
packages=(pgbackrest barman rsync zstd python3 haproxy openssl)
dpkg-query -W "${packages[@]}" >/dev/null 2>&1 || {
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
}
store=/var/cache/pgstow-tests/s3s-fs
[[ -x $store/bin/s3s-fs ]] || cargo install s3s-fs --version 0.14.1 --features binary --locked --root "$store"
cargo build --release --locked --bin pgstow --example limits
