#!/bin/bash
# Makes the disk of the guest in which the kernel's datapath is measured: a Debian with its cloud kernel, Open vSwitch,
# Node.js and what measures. Everything comes from Debian's packages. Takes some minutes once, and a moment when it is there.
#
# usage: image.sh FOLDER KERNEL       leaves disk, kernel and initrd in FOLDER; KERNEL is the Debian release it is of
# environment: DAOLINET_MIRROR      Debian mirror
set -euo pipefail
folder=$1
kernel=$2

SUITE=trixie
PACKAGES=initramfs-tools,openvswitch-switch,nodejs,iproute2,nftables,ethtool,iperf3,sockperf,procps,kmod,wireguard-tools
SIZE=2G
KEYS=/usr/share/keyrings/debian-archive-keyring.gpg
MIRROR=${DAOLINET_MIRROR:-http://deb.debian.org/debian}
# Process 1 of the guest: what is to run comes on a second disk.
BOOT='#!/bin/sh
mount -t tmpfs tmpfs /mnt && mkdir /mnt/bench && mount -o ro /dev/vdb /mnt/bench && exec sh /mnt/bench/init.sh'
RECIPE="$SUITE $kernel $PACKAGES $SIZE $BOOT"

# shellcheck source=../../../plugin/packages.sh
. "$(dirname "$0")/../../../plugin/packages.sh"
missing=$(missing_packages qemu-system-x86_64=qemu-system-x86 debootstrap=debootstrap mkfs.ext4=e2fsprogs $DEBIAN_KEYS |
  paste -s -d ' ')
if [ -n "$missing" ]; then
  echo "installing $missing"
  # shellcheck disable=SC2086
  install_packages $missing >/dev/null
fi

mkdir -p "$folder"
[ "$(cat "$folder/recipe" 2>/dev/null)" != "$RECIPE" ] || exit 0
[ "$(id -u)" = 0 ] || { echo 'making the guest takes root: debootstrap' >&2; exit 1; }
rm -f "$folder/recipe"
root=$(mktemp -d "$folder/root.XXXXXX")
trap 'rm -rf "$root"' EXIT
# Older versions of debootstrap do not know the release by its name.
script=$SUITE
[ -e /usr/share/debootstrap/scripts/$SUITE ] || script=sid
if ! debootstrap --variant=minbase --arch=amd64 --keyring=$KEYS --include=$PACKAGES $SUITE "$root" "$MIRROR" $script \
  >"$folder/debootstrap.log" 2>&1; then
  tail -n 20 "$folder/debootstrap.log" >&2
  exit 1
fi
echo "deb $MIRROR $kernel main" >"$root/etc/apt/sources.list.d/kernel.list"
if ! chroot "$root" sh -c "apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
  --target-release $kernel linux-image-cloud-amd64" >"$folder/kernel.log" 2>&1; then
  tail -n 20 "$folder/kernel.log" >&2
  exit 1
fi
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
echo "$BOOT" >"$root/sbin/bench"
chmod 755 "$root/sbin/bench"
cp -L "$root"/boot/vmlinuz-* "$folder/kernel"
cp -L "$root"/boot/initrd.img-* "$folder/initrd"
rm -f "$folder/disk"
truncate -s $SIZE "$folder/disk"
mkfs.ext4 -q -F -O ^has_journal -d "$root" "$folder/disk"
echo "$RECIPE" >"$folder/recipe"
