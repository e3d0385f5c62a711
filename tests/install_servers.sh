#!/usr/bin/env bash
# Install what tests need besides Python: PostgreSQL and Chromium (Debian's packages, as root), an S3 server,
# kustomize and actionlint (built by Go into .venv/bin). What cannot be installed here is said and left out:
# the tests that need it are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"

install_with_apt() { # what it is, its packages …
    local what=$1
    shift
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
        echo "$what: left out, installing it needs root on Debian or Ubuntu"
    elif apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive \
        apt-get install --yes --quiet=2 --no-install-recommends "$@" > /dev/null; then
        echo "$what: installed"
    else
        echo "$what: left out, apt-get could not install it"
    fi
}

if compgen -G "/usr/lib/postgresql/*/bin/pg_ctl" > /dev/null || command -v pg_ctl > /dev/null; then
    echo "PostgreSQL: there"
else
    install_with_apt PostgreSQL postgresql
fi

if command -v chromium > /dev/null && command -v chromedriver > /dev/null; then
    echo "Chromium: there"
else
    install_with_apt Chromium chromium chromium-driver
fi

install_with_go() { # program, package@version
    if command -v "$1" > /dev/null; then
        echo "$1: there"
    elif ! command -v go > /dev/null; then
        echo "$1: left out, building it needs Go"
    else
        local scratch
        scratch=$(mktemp --directory)
        if GOBIN="$PWD/.venv/bin" GOMODCACHE="$scratch/modules" GOCACHE="$scratch/cache" \
            go install -modcacherw -ldflags="-s -w" "$2" 2> "$scratch/log"; then
            echo "$1: built"
        else
            echo "$1: left out, Go could not build it: $(tail -n 1 "$scratch/log")"
        fi
        rm -rf "$scratch"
    fi
}

mkdir -p .venv/bin
install_with_go versitygw github.com/versity/versitygw/cmd/versitygw@v1.8.0
install_with_go kustomize sigs.k8s.io/kustomize/kustomize/v5@v5.7.1
install_with_go actionlint github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
