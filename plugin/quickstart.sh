#!/bin/bash
# From a fresh Debian or Ubuntu to two containers that talk over a hot-plug route. Does only what is missing, so a second
# run is quick; `--down` takes away what it made, and nothing else.
#
# usage: npm run quickstart                    (as root)
#        npm run quickstart -- --down
set -eEuo pipefail
cd "$(dirname "$0")/.."

PLUGIN=daolinet/daolinet:latest
DRIVERS='daolinet daolinet/daolinet:latest'
NETWORK=demo
CONTAINERS='demo-a demo-b'
IDLE_SECONDS=10
IP_FORWARD=/proc/sys/net/ipv4/ip_forward
STATE=/var/lib/daolinet-quickstart # what was made, one file for each thing; gone after --down
CACHE=/var/cache/daolinet
DAOLICTL=/usr/local/bin/daolictl
# Read by bash-completion when daolictl is first completed.
COMPLETIONS=/usr/share/bash-completion/completions
LOG=$STATE/log
ROUTES='ovs-ofctl -O OpenFlow14 --names dump-flows br-int table=2'

# shellcheck source=plugin/packages.sh
. plugin/packages.sh

# --- what the user sees ------------------------------------------------------------------------------------------------

bold='' green='' red='' dim='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' dim=$'\e[2m' plain=$'\e[0m'; fi

task='' task_start=0

# begin TEXT: a task starts; `finish` or `fail` ends it.
begin() {
  task=$1 task_start=$SECONDS
  [ ! -t 1 ] || printf '  %s… %s%s' "$dim" "$task" "$plain"
}

finish() {
  local took=$((SECONDS - task_start))
  [ ! -t 1 ] || printf '\r\e[K'
  printf '  %s✓%s %s%s\n' "$green" "$plain" "${1:-$task}" "$([ $took -lt 2 ] || echo " $dim($took s)$plain")"
  task=''
}

fail() {
  trap - ERR
  [ ! -t 1 ] || printf '\r\e[K'
  printf '  %s✗ %s%s\n' "$red" "$1" "$plain" >&2
  exit 1
}

# unexpected: a command failed that nobody had foreseen.
unexpected() {
  [ ! -s "$LOG" ] || tail -n 12 "$LOG" | sed 's/^/    /' >&2
  fail "this failed: ${task:-a step}. All output is in $LOG; running it again goes on from here"
}

shown() { printf '\n  %s$ %s%s\n' "$bold" "$1" "$plain"; }

# --- what was made -----------------------------------------------------------------------------------------------------

remember() { echo "${2:-}" >"$STATE/$1"; }
made() { [ -e "$STATE/$1" ]; }
recall() { cat "$STATE/$1"; }
forget() { rm -f "$STATE/$1"; }

# start_daemon NAME COMMAND...: runs a daemon on, remembering it so that no other process is ever taken for it.
start_daemon() {
  local name=$1
  shift
  setsid "$@" >>"$STATE/$name.log" 2>&1 </dev/null 9>&- &
  remember "daemon-$name" "$! $(started $!)"
}

# started PID: when that process was started, in clock ticks since boot; nothing when it does not run.
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20 || true; }

daemon_runs() {
  made "daemon-$1" || return 1
  local pid since
  read -r pid since <"$STATE/daemon-$1"
  [ -n "$since" ] && [ "$(started "$pid")" = "$since" ]
}

stop_daemon() {
  if daemon_runs "$1"; then
    local pid
    read -r pid _ <"$STATE/daemon-$1"
    kill "$pid"
    wait_for 20 not daemon_runs "$1" || kill -9 "$pid"
  fi
  forget "daemon-$1"
}

not() { ! "$@"; }

# wait_for SECONDS COMMAND...: until COMMAND succeeds.
wait_for() {
  local tries=$(($1 * 5))
  shift
  until "$@" >/dev/null 2>&1; do
    [ $((tries -= 1)) -gt 0 ] || return 1
    sleep 0.2
  done
}

with_systemd() { [ -d /run/systemd/system ]; }

# --- up ----------------------------------------------------------------------------------------------------------------

check_machine() {
  [ "$(id -u)" = 0 ] || fail 'this needs root: it installs packages, and starts Docker and Open vSwitch'
  local version
  version=$(node --version 2>/dev/null || echo v0)
  version=${version#v}
  [ "${version%%.*}" -ge 20 ] || fail 'this needs Node.js 20 or newer'
  [ -z "${DOCKER_HOST:-}" ] || fail "DOCKER_HOST is set ($DOCKER_HOST); this works on the Docker of this machine: unset it first"
  unset DOCKER_CONTEXT
}

install_dependencies() {
  local missing
  missing=$(missing_packages dockerd=docker.io ovs-vsctl=openvswitch-switch docker-registry=docker-registry \
    debootstrap=debootstrap busybox=busybox-static $DEBIAN_KEYS | paste -s -d ' ')
  if [ -n "$missing" ]; then
    begin "installing $missing"
    # shellcheck disable=SC2086
    install_packages $missing >>"$LOG" 2>&1
    finish "installed $missing"
  fi
  install_docker_client >>"$LOG" 2>&1
  if [ ! -d node_modules ]; then
    begin 'npm ci'
    npm ci >>"$LOG" 2>&1
    remember node-modules
    finish
  fi
}

# note_network: what a Docker that this script starts is going to change on a host where none has run since it booted.
note_network() {
  made network-before || docker_runs || ip link show docker0 >/dev/null 2>&1 ||
    remember network-before "$(iptables -S FORWARD 2>/dev/null | sed -n 's/^-P FORWARD //p') $(cat $IP_FORWARD)"
}

docker_runs() { timeout 10 docker version >/dev/null 2>&1; }

start_docker() {
  begin 'starting Docker'
  if [ -z "$docker_ran" ] && ! docker_runs; then
    remember started-docker
    if with_systemd; then
      systemctl start docker >>"$LOG" 2>&1
    else
      [ -S /run/containerd/containerd.sock ] && pgrep -x containerd >/dev/null || start_daemon containerd containerd
      wait_for 20 test -S /run/containerd/containerd.sock
      start_daemon dockerd dockerd --containerd /run/containerd/containerd.sock
    fi
    wait_for 60 docker_runs || { cat "$STATE/dockerd.log" >>"$LOG" 2>/dev/null; unexpected; }
  elif [ -z "$docker_ran" ]; then
    remember started-docker # by its package, just now
  fi
  finish "Docker $(docker version --format '{{.Server.Version}}') runs"
}

ovs_runs() { timeout 5 ovs-vsctl --no-wait show >/dev/null 2>&1 && timeout 5 ovs-appctl version >/dev/null 2>&1; }

start_ovs() {
  begin 'starting Open vSwitch'
  if [ -z "$ovs_ran" ]; then
    remember started-ovs
    if with_systemd; then systemctl start openvswitch-switch >>"$LOG" 2>&1 || true; fi
    ovs_runs || start_ovs_by_hand
  fi
  finish "Open vSwitch $(ovs-vsctl --version | sed -n '1s/.* //p') runs"
}

# start_ovs_by_hand: where there is no systemd, or the kernel has no Open vSwitch and its service gave up for that; the
# datapath in user space needs nothing of the kernel.
start_ovs_by_hand() {
  local scripts=/usr/share/openvswitch/scripts
  timeout 5 ovs-vsctl --no-wait show >/dev/null 2>&1 ||
    $scripts/ovs-ctl --no-ovs-vswitchd --system-id=random start >>"$LOG" 2>&1 9>&-
  ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile --detach --no-chdir --log-file >>"$LOG" 2>&1 9>&-
  remember ovs-by-hand
  wait_for 10 ovs_runs
}

# install_plugin: builds it, and installs or upgrades it when the sources are not those of the installed one.
install_plugin() {
  local present
  present=$(docker plugin inspect --format '{{.ID}}' $PLUGIN 2>/dev/null || true)
  if [ -n "$present" ] && ! made plugin; then
    finish "plugin $PLUGIN is there already, not from here; it stays as it is"
    docker plugin enable $PLUGIN >/dev/null 2>&1 || true
    return
  fi
  begin 'building the plugin (about a minute the first time)'
  made build || [ -d build ] || remember build
  made dist || [ -d dist ] || remember dist
  made cache || [ -n "$(ls -A $CACHE 2>/dev/null)" ] || remember cache
  docker image inspect debian:trixie-slim >/dev/null 2>&1 || remember debian-image
  plugin/build.sh >>"$LOG" 2>&1
  remember images
  local fingerprint
  fingerprint=$(cat build/plugin/fingerprint)
  finish "plugin built, $(du -sm build/plugin/rootfs | cut -f 1) MB"
  if [ -n "$present" ] && [ "$(recall plugin)" = "$fingerprint" ]; then
    docker plugin enable $PLUGIN >/dev/null 2>&1 || true
    return
  fi
  begin "installing $PLUGIN"
  start_registry
  local remote
  remote=127.0.0.1:$(recall registry-port)/$PLUGIN
  plugin/build.sh "$remote" >>"$LOG" 2>&1
  if [ -n "$present" ]; then
    docker plugin disable -f $PLUGIN >>"$LOG" 2>&1 || true
    docker plugin upgrade --grant-all-permissions $PLUGIN "$remote" >>"$LOG" 2>&1
    docker plugin enable $PLUGIN >>"$LOG" 2>&1
  else
    remember plugin
    docker plugin install --grant-all-permissions --alias $PLUGIN "$remote" DAOLINET_IDLE_TIMEOUT=$IDLE_SECONDS >>"$LOG" 2>&1
  fi
  remember plugin "$fingerprint"
  finish "plugin $PLUGIN installed and enabled"
}

# install_daolictl: the command line, on this host.
install_daolictl() {
  begin daolictl
  if [ -e $DAOLICTL ] && ! made daolictl; then
    finish "$DAOLICTL is there already, not from here; it stays as it is"
    return
  fi
  [ -e dist/daolictl.cjs ] || node plugin/bundle.mjs >>"$LOG" 2>&1
  remember daolictl
  install -D -m 755 dist/daolictl.cjs $DAOLICTL
  if [ -d $COMPLETIONS ] && { [ ! -e $COMPLETIONS/daolictl ] || made completion; }; then
    remember completion
    $DAOLICTL completion bash >$COMPLETIONS/daolictl
  fi
  finish "command line $DAOLICTL"
}

# start_registry: no public registry has the plugin, so one on this machine does. It stays, for `docker plugin upgrade`.
start_registry() {
  daemon_runs registry && return
  local port
  port=$(node -e 'const server = require("net").createServer().listen(0, "127.0.0.1", () => {
    console.log(server.address().port); server.close(); })')
  remember registry-port "$port"
  printf '%s\n' 'version: 0.1' "storage: { filesystem: { rootdirectory: $STATE/registry } }" 'log: { level: error }' \
    "http: { addr: '127.0.0.1:$port' }" >"$STATE/registry.yml"
  start_daemon registry docker-registry serve "$STATE/registry.yml"
  wait_for 10 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port"
}

make_image() {
  docker image inspect busybox >/dev/null 2>&1 && return
  begin 'image busybox'
  if ! timeout 30 docker pull -q busybox >>"$LOG" 2>&1; then
    local folder
    folder=$(mktemp -d)
    mkdir -p "$folder/bin" "$folder/tmp" "$folder/etc"
    cp "$(command -v busybox)" "$folder/bin/busybox"
    # Where it is not the static one, with its libraries.
    for library in $(ldd "$folder/bin/busybox" 2>/dev/null | grep -o '/[^ ]*' || true); do
      mkdir -p "$folder${library%/*}"
      cp -L "$library" "$folder$library"
    done
    for applet in $(busybox --list); do [ -e "$folder/bin/$applet" ] || ln -s busybox "$folder/bin/$applet"; done
    tar -C "$folder" -c . | docker import --change 'CMD ["sh"]' - busybox >>"$LOG"
    rm -rf "$folder"
  fi
  remember busybox
  finish 'image busybox'
}

make_network() {
  local driver
  driver=$(docker network inspect --format '{{.Driver}}' $NETWORK 2>/dev/null || true)
  case $driver in
    '')
      begin "network $NETWORK"
      docker network create -d daolinet $NETWORK >"$STATE/network.new" 2>>"$LOG"
      mv "$STATE/network.new" "$STATE/network"
      ;;
    daolinet*) begin "network $NETWORK" ;;
    *) fail "a network named $NETWORK is there already, with the driver $driver: rename or remove it first" ;;
  esac
  finish "network $NETWORK: docker network create -d daolinet $NETWORK"
}

run_containers() {
  local name
  begin "containers $CONTAINERS"
  for name in $CONTAINERS; do
    if docker container inspect "$name" >/dev/null 2>&1; then
      made "container-$name" || fail "a container named $name is there already: rename or remove it first"
      docker start "$name" >>"$LOG"
    else
      docker run -d --init --name "$name" --network $NETWORK busybox sleep 2147483647 >"$STATE/container-$name.new" 2>>"$LOG"
      mv "$STATE/container-$name.new" "$STATE/container-$name"
    fi
  done
  finish "containers $(for name in $CONTAINERS; do
    docker inspect --format "$name {{.NetworkSettings.Networks.$NETWORK.IPAddress}}" "$name"
  done | paste -s -d , | sed 's/,/, /g')"
}

# --- the demonstration -------------------------------------------------------------------------------------------------

routes() { $ROUTES | grep idle_timeout | sed 's/^ *cookie=[^,]*, //' || true; }

print_routes() {
  shown "$ROUTES | grep idle_timeout"
  local now
  now=$(routes)
  [ -n "$now" ] || now='(none)'
  fold -s -w 116 <<<"$now" | sed 's/^/    /'
}

demonstrate() {
  local a b seconds
  read -r a b <<<"$CONTAINERS"
  seconds=$(docker plugin inspect --format '{{join .Settings.Env "\n"}}' $PLUGIN | sed -n 's/^DAOLINET_IDLE_TIMEOUT=//p')
  printf '\n%sNobody has talked yet, so there is no route.%s\n' "$bold" "$plain"
  print_routes
  printf '\n%sThe first packet plugs one in, both ways.%s\n' "$bold" "$plain"
  shown "docker exec $a ping -c 3 $b"
  task="ping from $a to $b"
  docker exec "$a" ping -c 3 "$b" | sed 's/^/    /'
  task=''
  print_routes
  [ -n "$(routes)" ] || fail 'the containers talk, but no route is there'
  printf '\n%sAfter %s s without traffic it is pulled out.%s\n  ' "$bold" "$seconds" "$plain"
  local tries=$((seconds + 10))
  while [ -n "$(routes)" ]; do
    [ $((tries -= 1)) -gt 0 ] || fail 'the route is still there'
    printf .
    sleep 1
  done
  echo
  print_routes
}

print_next() {
  cat <<TEXT

${bold}Go on with${plain}
  docker run --rm -it --network $NETWORK busybox
  docker run -d --network $NETWORK -p 8080:80 busybox sh -c 'echo hello >index.html; httpd -f'    # then: curl localhost:8080
  watch -n 1 '$ROUTES | grep idle_timeout'
  daolictl cluster init                        # and join with another server
  npm run quickstart -- --down                 # takes everything away again

The idle time is $IDLE_SECONDS s here, so that nobody has to wait; it is 60 s by default, and a setting of the plugin (README.md).
TEXT
}

up() {
  check_machine
  prepare_state
  printf '%sDaoliNet%s\n\n' "$bold" "$plain"
  docker_ran='' ovs_ran=''
  if made started-docker || ! docker_runs; then :; else docker_ran=1; fi
  if made started-ovs || ! ovs_runs; then :; else ovs_ran=1; fi
  note_network
  install_dependencies
  start_docker
  start_ovs
  install_plugin
  install_daolictl
  make_image
  make_network
  run_containers
  demonstrate
  print_next
}

prepare_state() {
  mkdir -p $STATE
  exec 9>$STATE/lock
  flock -n 9 || fail 'another quickstart runs'
  : >$LOG
  trap unexpected ERR
}

# --- down --------------------------------------------------------------------------------------------------------------

# other_networks: names of networks of ours that this script did not make.
other_networks() {
  local driver
  for driver in $DRIVERS; do
    docker network ls --no-trunc --filter "driver=$driver" --format '{{.ID}} {{.Name}} {{.Driver}}'
  done | awk -v own="$(! made network || recall network)" '$1 != own && !seen[$1]++ { print $2 }'
}

# other_containers: names of running containers on our network that this script did not start.
other_containers() {
  made network || return 0
  docker network inspect --format '{{range .Containers}}{{.Name}} {{end}}' "$(recall network)" 2>/dev/null |
    tr ' ' '\n' | grep -v -x -F "$(tr ' ' '\n' <<<"$CONTAINERS")" | grep . || true
}

remove_demo() {
  local name
  for name in $CONTAINERS; do
    made "container-$name" || continue
    docker rm -f "$(recall "container-$name")" >/dev/null 2>&1 || true
    forget "container-$name"
    finish "container $name removed"
  done
  if made network; then
    docker network rm "$(recall network)" >/dev/null 2>&1 || true
    forget network
    finish "network $NETWORK removed"
  fi
}

remove_plugin() {
  made plugin || return 0
  begin 'removing the plugin'
  docker plugin disable -f $PLUGIN >>"$LOG" 2>&1 || true
  docker plugin rm -f $PLUGIN >>"$LOG" 2>&1 || true
  # What the agent had set up on the host goes with it.
  local bridge
  for bridge in $(ovs-vsctl --bare --columns=name find Bridge 'external_ids:daolinet-owner!=""' 2>/dev/null || true); do
    ovs-vsctl --if-exists del-br "$bridge" >>"$LOG" 2>&1 || true
  done
  local nft=(nft)
  has nft || nft=(chroot build/plugin/rootfs nft)
  "${nft[@]}" delete table inet daolinet >>"$LOG" 2>&1 || true
  ip link delete daoli-fab >>"$LOG" 2>&1 && "${nft[@]}" delete table netdev daolinet_fabric >>"$LOG" 2>&1 || true
  local device
  for device in daoli-wg daoli-wg1 daoli-wg2 daoli-wg3; do ip link delete $device >>"$LOG" 2>&1 || true; done
  # The metric is that of src/host/links.ts
  ip -4 route show | sed -n 's/^\(unreachable .*\) metric 2147483647.*/\1/p' | while read -r route; do
    # shellcheck disable=SC2086
    ip route delete $route metric 2147483647 >>"$LOG" 2>&1 || true
  done
  local chain rule
  for chain in FORWARD DOCKER-USER; do
    iptables -S $chain 2>/dev/null | sed -n '/--comment "\{0,1\}daolinet/s/^-A//p' | while read -r rule; do
      # shellcheck disable=SC2086
      iptables -D ${rule//\"/} >>"$LOG" 2>&1 || true
    done || true
  done
  rmdir /run/daolinet 2>/dev/null || true
  forget plugin
  finish "plugin $PLUGIN removed, and what it had set up on this host"
}

remove_images() {
  local image
  local images=()
  ! made images || images+=(daolinet/rootfs:latest daolinet/programs:latest daolinet/base:trixie)
  ! made debian-image || images+=(debian:trixie-slim)
  ! made busybox || images+=(busybox:latest)
  for image in "${images[@]}"; do docker image rm "$image" >>"$LOG" 2>&1 || true; done
  forget images
  forget debian-image
  forget busybox
  [ ${#images[@]} = 0 ] || finish 'images removed'
}

# restore_network: takes away Docker's bridge, chains and rules, which Docker leaves behind when it stops.
restore_network() {
  local table rule verb policy forwarding
  ip link delete docker0 >>"$LOG" 2>&1 || true
  for table in filter nat; do
    iptables -t $table -S 2>/dev/null | sed -n '/^-A DOCKER/d; /DOCKER\|docker0/s/^-A /-D /p' | while read -r rule; do
      # shellcheck disable=SC2086
      iptables -t $table $rule >>"$LOG" 2>&1 || true
    done
    for verb in -F -X; do # a chain can go when no other one leads to it
      iptables -t $table -S 2>/dev/null | sed -n "s/^-N \(DOCKER.*\)/$verb \1/p" | while read -r rule; do
        # shellcheck disable=SC2086
        iptables -t $table $rule >>"$LOG" 2>&1 || true
      done
    done
  done
  read -r policy forwarding < <(recall network-before | sed 's/^ /ACCEPT /')
  iptables -P FORWARD "$policy" >>"$LOG" 2>&1 || true
  echo "$forwarding" >$IP_FORWARD
}

stop_services() {
  if made started-docker; then
    begin 'stopping Docker'
    if with_systemd; then systemctl stop docker.socket docker >>"$LOG" 2>&1 || true; fi
    stop_daemon dockerd
    stop_daemon containerd
    forget started-docker
    ! made network-before || restore_network
    finish 'Docker stopped'
  fi
  if made started-ovs; then
    begin 'stopping Open vSwitch'
    if with_systemd; then systemctl stop openvswitch-switch >>"$LOG" 2>&1 || true; fi
    ! made ovs-by-hand || /usr/share/openvswitch/scripts/ovs-ctl stop >>"$LOG" 2>&1 || true
    forget started-ovs
    finish 'Open vSwitch stopped'
  fi
}

remove_files() {
  ! made build || rm -rf build
  ! made dist || rm -rf dist
  ! made daolictl || rm -f $DAOLICTL
  ! made completion || rm -f $COMPLETIONS/daolictl
  ! made cache || rm -rf $CACHE
  ! made node-modules || rm -rf node_modules
  rm -rf $STATE
  finish 'files removed'
}

down() {
  check_machine
  if [ ! -d $STATE ]; then echo 'There is nothing to take away.'; return; fi
  prepare_state
  if docker_runs; then
    local others
    others=$(other_containers | paste -s -d ' ')
    [ -z "$others" ] || fail "these containers are on the network $NETWORK; remove them first: docker rm -f $others"
    others=$(other_networks | paste -s -d ' ')
    [ -z "$others" ] || ! made plugin ||
      fail "these networks use DaoliNet and were not made here; remove them first: docker network rm $others"
    remove_demo
    remove_plugin
    remove_images
  elif made plugin; then
    fail 'Docker does not run: start it first, so that containers, network and plugin can be removed'
  fi
  stop_daemon registry
  stop_services
  remove_files
  echo
  echo 'Packages that were installed stay; apt-get remove takes them away.'
}

case ${1:-} in
  '') up ;;
  --down) down ;;
  *) sed -n '5,6s/^# //p' "$0" >&2; exit 2 ;;
esac
