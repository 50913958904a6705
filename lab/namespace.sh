#!/bin/sh
# Runs a command as if on a host of its own: its own process ids, mounts, /run, cgroups and (with --net) network. /etc, /usr
# and /var are those of this machine with a private layer above them. When the command ends, everything that was started
# in there ends with it, daemons included, and nothing is left but FOLDER, which holds what such a host has on its disk:
# the same FOLDER again is the same host after a reboot.
#
# usage: namespace.sh [--net] [--root ROOT] FOLDER HOSTNAME COMMAND...
# With --root the programs are those of the system in ROOT (made by debootstrap) in place of this machine's.
# Once it runs, FOLDER/pid has the process id of the host's process 1, for nsenter. /var/log/daolinet inside is FOLDER/log.
set -eu

net=''
[ "$1" != --net ] || { net=--net; shift; }
root=''
[ "$1" != --root ] || { root=$2; shift 2; }
inside=''
[ "$1" != --inside ] || { inside=1; shift; }
folder=$1
hostname=$2
shift 2
top=''

# hierarchies: a line "MOUNTPOINT TYPE OPTIONS OWN" for each cgroup hierarchy with controllers; OWN is our folder in it. Of a
# version 2 hierarchy it is the top, because a cgroup that has processes cannot pass its controllers on.
hierarchies() {
  awk '
    FILENAME == "/proc/self/cgroup" { split($0, part, ":"); own[part[2]] = substr($0, length(part[1] part[2]) + 3); next }
    $0 ~ / - cgroup / {
      options = $NF
      gsub(/(^|,)(rw|xattr|clone_children|cpuset_v2_mode|noprefix|release_agent=[^,]*)/, "", options)
      sub(/^,/, "", options)
      path = own[options]
      print $5, "cgroup", (options ~ /^name=/ ? "none," : "") options, (path == "/" ? $5 : $5 path)
    }
    $0 ~ / - cgroup2 / && $5 == "/sys/fs/cgroup" { print $5, "cgroup2", "rw", $5 }
  ' /proc/self/cgroup /proc/self/mountinfo
}

enter_cgroups() {
  hierarchies >"$folder/cgroups"
  while read -r _ type _ own; do
    path=$own/daolinet-${folder##*/}
    mkdir -p "$path"
    if [ "$type" = cgroup ] && [ -e "$path/cpuset.mems" ]; then
      cat "$own/cpuset.cpus" >"$path/cpuset.cpus"
      cat "$own/cpuset.mems" >"$path/cpuset.mems"
      echo 1 >"$path/cgroup.clone_children"
    fi
    echo $$ >"$path/cgroup.procs"
  done <"$folder/cgroups"
}

leave_cgroups() {
  while read -r _ _ _ own; do
    path=$own/daolinet-${folder##*/}
    echo $$ >"$own/cgroup.procs"
    tries=0
    until find "$path" -depth -type d -exec rmdir {} \; 2>/dev/null || [ $tries = 50 ]; do
      sleep 0.1 # the last processes may still be ending
      tries=$((tries + 1))
    done
  done <"$folder/cgroups"
  rm "$folder/cgroups"
}

mount_cgroups() {
  grep -q ' cgroup2 ' "$folder/cgroups" || mount -t tmpfs -o mode=755 tmpfs "$top/sys/fs/cgroup"
  while read -r at type options _; do
    [ -d "$top$at" ] || mkdir -p "$top$at"
    mount -t "$type" -o "$options" cgroup "$top$at"
    [ "$type" = cgroup2 ] || continue
    mkdir -p "$top$at/init"
    while read -r pid; do echo "$pid" >"$top$at/init/cgroup.procs"; done <"$top$at/cgroup.procs"
    for controller in $(cat "$top$at/cgroup.controllers"); do
      echo "+$controller" >"$top$at/cgroup.subtree_control"
    done
  done <"$folder/cgroups"
}

# layer LOWER UPPER AT: LOWER with the disk's UPPER above it, mounted at AT.
layer() {
  mkdir -p "$folder/disk/$2" "$folder/work/$2"
  mount -t overlay -o "lowerdir=$1,upperdir=$folder/disk/$2,workdir=$folder/work/$2" overlay "$3"
}

# plain PATH: PATH is a folder of the disk, empty at first: what this machine has there is not the host's, and Docker's
# own layers cannot lie on a layer.
plain() {
  mkdir -p "$folder/disk/plain/$1" "$top/$1"
  mount --bind "$folder/disk/plain/$1" "$top/$1"
}

# share FROM AT: a folder of this machine as it is.
share() {
  mkdir -p "$1" "$top$2"
  mount --bind "$1" "$top$2"
}

become_host() {
  read -r pid _ </proc/self/stat # of the outer /proc, hence the outer process id
  mount --make-rprivate /
  # A copy of this machine's own mounts would hold its containers' networks and layers after they are gone.
  awk '$5 ~ "^(/run|/var/run|/var/lib/(docker|containerd))/" { print $5 }' /proc/self/mountinfo | sort -r |
    while read -r path; do umount -l "$path" || true; done
  mkdir -p /var/cache/daolinet "$folder/cache"
  mount --bind /var/cache/daolinet "$folder/cache" # for as long as /var is being covered
  if [ -n "$root" ]; then
    mkdir -p "$folder/root"
    layer "$root" root "$folder/root"
    top=$folder/root
    for path in /dev /dev/pts /dev/shm /tmp; do mount --bind "$path" "$top$path"; done
  else
    for path in etc usr var; do layer "/$path" "$path" "/$path"; done
  fi
  for path in etc/docker etc/openvswitch var/lib/docker var/lib/containerd var/lib/openvswitch; do plain $path; done
  share "$folder/cache" /var/cache/daolinet
  share "$folder/log" /var/log/daolinet
  mount -t proc proc "$top/proc"
  # sysfs shows the interfaces of the network namespace that mounts it.
  [ -z "$net" ] || mount -t sysfs sysfs "$top/sys"
  [ -z "$net" ] || ip link set lo up
  mount_cgroups
  mount -t tmpfs -o mode=755 tmpfs "$top/run"
  mkdir -p "$top/run/lock"
  if [ -n "$root" ]; then
    cd "$top"
    mkdir -p .before
    pivot_root . .before
    cd /
    umount -l /.before
  fi
  echo "$hostname" >/proc/sys/kernel/hostname
  echo "$pid" >"$folder/pid.new"
  mv "$folder/pid.new" "$folder/pid"
}

exec 3<&0 # what runs in the background gets /dev/null as its input otherwise
if [ -n "$inside" ]; then
  become_host
  # Not exec: process 1 stays a shell that reaps orphans.
  "$@" <&3 3<&- &
  exec 3<&-
  wait $!
  exit
fi

enter_cgroups
# shellcheck disable=SC2086
unshare --fork --kill-child --pid --mount --ipc --uts --cgroup $net \
  sh "$0" $net ${root:+--root "$root"} --inside "$folder" "$hostname" "$@" <&3 3<&- &
exec 3<&-
status=0
trap 'kill $!' TERM INT HUP
wait $! || status=$?
trap '' TERM INT HUP
leave_cgroups
exit $status
