#!/bin/sh
# Installs what the virtual machine tests need beyond the build's own packages: QEMU for both architectures, and a linker
# for the other one. Does nothing where they are there already.
set -eu
packages='qemu-system-x86 qemu-system-arm lld'
command -v qemu-system-x86_64 >/dev/null && command -v qemu-system-aarch64 >/dev/null && command -v ld.lld >/dev/null && exit 0
[ "$(id -u)" = 0 ] || { echo "kernels: apt-get install --no-install-recommends $packages" >&2; exit 1; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq >&2
apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=600 $packages >&2
