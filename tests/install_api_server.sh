#!/usr/bin/env bash
# Install what the tests of the cluster need: etcd (Debian's package, as root) and Kubernetes' API server, which Go
# builds into .venv/bin: minutes the first time, and some 2 GB in Go's own caches. What cannot be installed here
# is said and left out: the tests that need it are skipped.
set -euo pipefail
cd "$(dirname "$0")/.."
export PATH="$PWD/.venv/bin:$PATH"
VERSION=1.34.2

if command -v etcd > /dev/null; then
    echo "etcd: there"
elif [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get update --quiet=2 \
    && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends etcd-server > /dev/null; then
    echo "etcd: installed"
else
    echo "etcd: left out, installing it needs root on Debian or Ubuntu"
fi

if [ "$(kube-apiserver --version 2> /dev/null)" = "Kubernetes v$VERSION" ]; then
    echo "kube-apiserver: there"
    exit
elif ! command -v go > /dev/null; then
    echo "kube-apiserver: left out, building it needs Go"
    exit
fi

# k8s.io/kubernetes takes its libraries from its own folder staging/; published, they are v0.x of the same release.
module=$(mktemp --directory)
trap 'rm -rf "$module"' EXIT
program="$PWD/.venv/bin/kube-apiserver"
cd "$module"
built() {
    echo "module example.org/kube-apiserver" > go.mod
    local source
    source=$(go mod download -json "k8s.io/kubernetes@v$VERSION" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p') || return
    sed -e 's/^module .*/module example.org\/kube-apiserver/' \
        -e "s/=> .\/staging\/src\/\(k8s.io\/[a-z-]*\)/=> \1 v0.${VERSION#1.}/" "$source/go.mod" > go.mod
    echo "require k8s.io/kubernetes v$VERSION" >> go.mod
    cp "$source/go.sum" go.sum && chmod u+w go.sum
    nice go build -mod=mod -o "$program" -ldflags="-s -w -X k8s.io/component-base/version.gitVersion=v$VERSION" \
        k8s.io/kubernetes/cmd/kube-apiserver
}
echo "kube-apiserver: building …"
if built 2> log; then
    echo "kube-apiserver: built"
else
    echo "kube-apiserver: left out, Go could not build it: $(tail -n 1 log)"
fi
