#!/bin/sh
# Collects the programs that the plugin runs, with the shared libraries they need, into one folder: the plugin's root file
# system without our own files. Runs in the Dockerfile's first stage.
#
# usage: collect.sh FOLDER
set -eu

out=$1
PROGRAMS='
  sh cat chmod cp ln ls mkdir mount mv rm setsid sleep
  node
  ovsdb-server ovsdb-tool ovsdb-client ovs-vswitchd ovs-vsctl ovs-ofctl ovs-appctl ovs-dpctl
  ip nft xtables-nft-multi xtables-legacy-multi ethtool conntrack tcpdump
  wg wireguard-go ping
'

# Debian's /bin, /sbin and /lib are links into /usr; a program is asked for by either name.
mkdir -p "$out/usr/bin" "$out/usr/sbin" "$out/usr/lib" "$out/usr/lib64"
for dir in bin sbin lib lib64; do ln -s "usr/$dir" "$out/$dir"; done

# copy FILE: to the same place below $out, links followed, once.
copy() {
  real=$(readlink -f "$1")
  for path in "$real" "$1"; do
    case $path in /bin/* | /sbin/* | /lib/* | /lib64/*) path=/usr$path ;; esac
    [ ! -e "$out$path" ] || continue
    mkdir -p "$out${path%/*}"
    if [ "$path" = "$real" ]; then cp -p "$real" "$out$path"; else ln -s "$real" "$out$path"; fi
  done
}

# libraries FILE: the shared libraries that it is linked with, the loader among them.
libraries() {
  ldd "$1" 2>/dev/null | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (0x.*/\1/p'
}

copy_with_libraries() {
  copy "$1"
  for library in $(libraries "$1"); do copy "$library"; done
}

for program in $PROGRAMS; do
  path=$(command -v "$program") || { echo "collect.sh: no program $program" >&2; exit 1; }
  copy_with_libraries "$path"
done

# iptables loads its matches and targets by name, so ldd does not see them.
for extension in /usr/lib/*/xtables/*.so; do copy_with_libraries "$extension"; done
for flavour in nft legacy; do
  for name in iptables ip6tables; do
    for action in '' -save -restore; do
      ln -s "xtables-$flavour-multi" "$out/usr/sbin/$name-$flavour$action"
    done
  done
done
for name in iptables ip6tables; do
  for action in '' -save -restore; do ln -s "xtables-nft-multi" "$out/usr/sbin/$name$action"; done
done

copy /usr/share/openvswitch/vswitch.ovsschema
for file in /etc/protocols /etc/services; do [ ! -e $file ] || copy $file; done

# The agent runs under its own name: the kernel names a process after the file that was started.
ln -s /usr/local/bin/node "$out/usr/bin/daolinetd"

# Licences of what is in here.
copy /usr/local/LICENSE
for file in /usr/share/doc/*/copyright; do
  package=${file%/copyright}
  package=${package##*/}
  if dpkg -L "$package" 2>/dev/null | while read -r path; do [ ! -f "$out$path" ] || exit 1; done; then continue; fi
  copy "$file"
done

# Where the supervisor and Docker mount things; see config.json.
mkdir -p "$out/tmp" "$out/proc" "$out/sys" "$out/dev" "$out/etc" "$out/data" \
  "$out/host/run" "$out/run/docker/plugins" "$out/run/daolinet" "$out/var"
chmod 1777 "$out/tmp"
ln -s /run "$out/var/run"
ln -s /host/run/docker.sock "$out/run/docker.sock"
ln -s /host/run/xtables.lock "$out/run/xtables.lock"

# tcpdump becomes this user once it has opened its interface.
for file in passwd group; do grep -E '^(root|tcpdump):' /etc/$file >"$out/etc/$file"; done
