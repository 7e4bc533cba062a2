#!/usr/bin/env bash
# Installs what is missing on Debian, builds pgstow and runs its demo. Arguments go to the demo.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

as_root() {
    if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

install_packages() {
    local install=(apt-get install -qq -y --no-install-recommends)
    printf 'demo: installing %s\n' "$*" >&2
    as_root apt-get update -qq
    if [[ " $* " == *' postgresql '* ]]; then
        # Debian would make and start a cluster of its own: the demo needs the programs alone.
        as_root env DEBIAN_FRONTEND=noninteractive "${install[@]}" postgresql-common >/dev/null
        as_root sed -i 's/^#* *create_main_cluster *=.*/create_main_cluster = false/' \
            /etc/postgresql-common/createcluster.conf
    fi
    as_root env DEBIAN_FRONTEND=noninteractive "${install[@]}" "$@" >/dev/null
}

command -v cargo >/dev/null || {
    echo 'demo: no Rust toolchain: install one from https://rustup.rs' >&2
    exit 1
}
packages=()
compgen -G '/usr/lib/postgresql/1[5-9]/bin/postgres' >/dev/null ||
    command -v postgres >/dev/null || [[ " $* " == *' --bindir'* ]] || packages+=(postgresql)
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v setpriv >/dev/null || packages+=(util-linux)
((${#packages[@]} == 0)) || install_packages "${packages[@]}"

cargo build --release --locked
exec "${CARGO_TARGET_DIR:-target}/release/pgstow" demo "$@"
