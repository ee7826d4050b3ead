#!/bin/sh
# Installs what the virtual machine tests need beyond the build's own packages: QEMU with its firmware. Does nothing
# where it is there already.
set -eu
command -v qemu-system-x86_64 >/dev/null && exit 0
[ "$(id -u)" = 0 ] || { echo 'kernels: apt-get install --no-install-recommends qemu-system-x86' >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >&2
apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=600 qemu-system-x86 >&2
