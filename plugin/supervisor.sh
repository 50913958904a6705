#!/bin/sh
# Process 1 of the managed plugin. Keeps running: the ovsdb-server of the directory, daolinetd, and, where the host has no
# Open vSwitch, the plugin's own. Each is restarted alone when it dies, so a crash of one leaves the others as they are.
# It decides nothing about networks; that is daolinetd's work.
set -u

# No other programs than those of collect.sh are there, which a test sees to: no grep, sed or sort.
STATE=/data                # survives restarts and upgrades of the plugin
RUN=/run/daolinet          # sockets of this plugin alone
HOST_RUN=/host/run         # the host's /run
SCHEMAS=/usr/share
PLAN=$STATE/directory.plan   # what daolinetd wants to become of the directory's database
RESTORED=$STATE/directory.restored   # what it is to begin with, where that comes from a backup
ELECTION_MS=1000           # how long members miss their leader before they elect another
CATCH_UP=2                 # seconds in which a member that is connected again has what it missed
CONVERT_TRIES=60           # after how many tries in vain to convert a cluster's database that is said,
CONVERT_PAUSE=5            # with so many seconds between them
STEADY_SECONDS=10          # who ran this long did not die of its start
AGENT_GRACE=4              # seconds between TERM and KILL; together below the 10 s that Docker grants
OVS_GRACE=2

say() { echo "supervisor: $*" >&2; }

# uptime_seconds: into $now, without starting a process.
uptime_seconds() {
  read -r now _ </proc/uptime
  now=${now%.*}
}

# pause_after DEATHS: the seconds before the next restart, into $delay, after that many early deaths in a row. The first
# restart is at once, and the pause stays below a second for some more.
pause_after() {
  case $1 in 0 | 1) delay=0 ;; 2) delay=0.1 ;; 3) delay=0.2 ;; 4) delay=0.4 ;; [5-9]) delay=0.8 ;; *) delay=5 ;; esac
}

# keep NAME GRACE COMMAND...: runs COMMAND, again whenever it ends, until TERM; then ends it, with KILL after GRACE seconds.
keep() {
  name=$1 grace=$2
  shift 2
  child='' stopping='' deaths=0
  trap 'stopping=1; [ -z "$child" ] || kill -TERM "$child" 2>/dev/null' TERM
  while [ -z "$stopping" ]; do
    uptime_seconds
    started=$now
    "$@" &
    child=$!
    [ -z "$stopping" ] || { kill -TERM "$child"; break; } # TERM came before $child was known
    status=0
    wait "$child" 2>/dev/null || status=$?
    [ -z "$stopping" ] || break
    uptime_seconds
    [ $((now - started)) -lt $STEADY_SECONDS ] || deaths=0
    deaths=$((deaths + 1))
    pause_after $deaths
    say "$name ended (status $status); it starts again in $delay s"
    if [ "$delay" != 0 ]; then
      sleep "$delay" &
      child=$!
      wait "$child" 2>/dev/null
    fi
  done
  end_child "$grace"
}

# end_child GRACE: waits for $child, which was sent TERM, and kills it when it takes longer than GRACE seconds.
end_child() {
  [ -n "$child" ] || return 0
  (sleep "$1" && kill -KILL "$child") 2>/dev/null &
  watchdog=$!
  while kill -0 "$child" 2>/dev/null; do wait "$child" 2>/dev/null; done # silent: the shell reports signals
  kill "$watchdog" 2>/dev/null
}

# is_later A B: whether version A, of three numbers, is later than B.
is_later() {
  IFS=. read -r a1 a2 a3 <<EOV
$1
EOV
  IFS=. read -r b1 b2 b3 <<EOV
$2
EOV
  [ $(((a1 * 1000 + a2) * 1000 + a3)) -gt $(((b1 * 1000 + b2) * 1000 + b3)) ]
}

# prepare_database FILE SCHEMA: makes FILE, or converts it to SCHEMA, keeping what was there in FILE.before-VERSION. Never down: what a
# later version has written would go with its columns. One that is a member of a cluster is converted while it is served; see
# convert_member.
prepare_database() {
  if [ ! -s "$1" ]; then
    rm -f "$1"
    ovsdb-tool create "$1" "$2"
    return
  fi
  ! ovsdb-tool db-is-clustered "$1" || return 0
  [ "$(ovsdb-tool needs-conversion "$1" "$2")" = yes ] || return 0
  has=$(ovsdb-tool db-version "$1") && wants=$(ovsdb-tool schema-version "$2") || return
  if is_later "$has" "$wants"; then
    say "$1 is of version $has, later than this plugin's $wants: it is used as it is"
    return 0
  fi
  say "converting $1 from version $has to $wants"
  cp "$1" "$1.before.new" && mv "$1.before.new" "$1.before-$has" && ovsdb-tool convert "$1" "$2"
}

# carry_out_plan FILE SCHEMA: makes of FILE what daolinetd has written down (src/cluster/directory-server.ts): the first
# member of a cluster, another member, an empty database, or the first member of another cluster, with what a backup or the
# member itself has. What was there is kept in FILE.alone or FILE.member. A plan that was carried out before its file could be
# removed is carried out by now, or again, to the same end.
carry_out_plan() {
  [ -s "$PLAN" ] || return 0
  read -r action cluster own others <"$PLAN"
  was=alone
  ! ovsdb-tool db-is-clustered "$1" || was=member
  rm -f "$1.new"
  case $action-$was in
    create-alone) ovsdb-tool --election-timer=$ELECTION_MS create-cluster "$1.new" "$1" "$own" >&2 ;;
    # shellcheck disable=SC2086
    join-alone) ovsdb-tool --cid="$cluster" join-cluster "$1.new" DaoliNet "$own" $others ;;
    new-member) ovsdb-tool create "$1.new" "$2" ;;
    recover-member)
      rm -f "$1.known"
      ovsdb-tool cluster-to-standalone "$1.known" "$1" &&
        ovsdb-tool --election-timer=$ELECTION_MS create-cluster "$1.new" "$1.known" "$own" >&2
      ;;
    restore-*) ovsdb-tool --election-timer=$ELECTION_MS create-cluster "$1.new" "$RESTORED" "$own" >&2 ;;
    *) rm -f "$PLAN"; return 0 ;;
  esac || return 1
  rm -f "$1.known"
  say "the directory's database: $action"
  [ ! -s "$1" ] || { cp "$1" "$1.$was.new" && mv "$1.$was.new" "$1.$was"; } || return 1
  mv "$1.new" "$1" && rm -f "$PLAN"
}

# convert_member SCHEMA: brings the cluster's database up to SCHEMA, once it is there, if it is older. Never down: other
# hosts may be of a later version already, which one that was away knows a moment after it is connected. The first server that is upgraded does it for all; older agents go on with the tables
# and columns that they know.
convert_member() {
  remote=unix:$RUN/directory.sock
  ovsdb-client -vconsole:warn --timeout=60 wait $remote DaoliNet connected || return
  sleep $CATCH_UP
  has=$(ovsdb-client -vconsole:warn --timeout=5 get-schema-version $remote DaoliNet) || return
  wants=$(ovsdb-tool schema-version "$1") || return
  if is_later "$has" "$wants"; then
    say "the cluster's database is of version $has, later than this plugin's $wants: it is used as it is"
    return
  fi
  is_later "$wants" "$has" || return 0
  say "converting the cluster's database from version $has to $wants"
  ovsdb-client -vconsole:warn --timeout=30 convert $remote "$1"
}

# convert_when_there SCHEMA: convert_member, again where it failed, as without a leader; until another run of the server does it.
# Said once in a while.
convert_when_there() {
  read -r mine _ </proc/uptime
  echo "$mine" >$RUN/converting
  tries=0
  until convert_member "$1"; do
    tries=$((tries + 1))
    [ $((tries % CONVERT_TRIES)) != 0 ] || say "the cluster's database cannot be converted yet; see the lines above"
    sleep $CONVERT_PAUSE
    read -r other <$RUN/converting
    [ "$other" = "$mine" ] || return
  done
}

# serve_database FILE NAME OPTION...: becomes the ovsdb-server of FILE.
serve_database() {
  file=$1 name=$2
  shift 2
  exec ovsdb-server "$file" "$@" --unixctl="$RUN/$name.ctl" --no-chdir \
    -vconsole:info -vsyslog:off -vfile:off 2>&1
}

directory() {
  file=$STATE/directory.db schema=$SCHEMAS/daolinet/directory.ovsschema
  # A backup takes the place of what there is, whatever is the matter with that.
  action=''
  [ ! -s $PLAN ] || read -r action _ <$PLAN
  [ "$action" != restore ] || carry_out_plan $file $schema || say "the backup could not be restored; see the line above"
  prepare_database $file $schema || { say "cannot use $file; see the line above"; exit 1; }
  # What cannot be done stays to be done; the database is served as it is.
  carry_out_plan $file $schema || say "the plan for $file could not be carried out; see the line above"
  # Not a child of the server that this process becomes, which would not reap it.
  ! ovsdb-tool db-is-clustered $file || (convert_when_there $schema &)
  serve_database $file directory --remote=punix:$RUN/directory.sock
}

switch_database() {
  file=$STATE/ovs/conf.db
  prepare_database $file $SCHEMAS/openvswitch/vswitch.ovsschema || { say "cannot use $file; see the line above"; exit 1; }
  serve_database $file switch \
    --remote=punix:/run/openvswitch/db.sock --remote=db:Open_vSwitch,Open_vSwitch,manager_options
}

switch() {
  # As ovs-ctl does it: ovs-vswitchd itself does not say in the database which version it is.
  read -r _ _ _ version _ <<EOV
$(ovs-vswitchd --version)
EOV
  ovs-vsctl --timeout=5 --no-wait init -- set Open_vSwitch . ovs_version="$version" || exit 1
  exec ovs-vswitchd unix:/run/openvswitch/db.sock --pidfile=/run/openvswitch/ovs-vswitchd.pid --no-chdir \
    -vconsole:info -vsyslog:off -vfile:off 2>&1
}

agent() { exec daolinetd /usr/lib/daolinet/main.cjs; }

# host_has_ovs: whether one runs there; its socket alone may be left from one that does not run any more.
host_has_ovs() {
  [ -S $HOST_RUN/openvswitch/db.sock ] &&
    ovs-vsctl --timeout=2 --no-wait --db=unix:$HOST_RUN/openvswitch/db.sock show >/dev/null 2>&1
}

# choose_ovs: makes DAOLINET_OVS host or plugin. `auto` decides once, at the first start, and stays with it: at boot Docker
# can be up before the host's Open vSwitch, and a second one must not take over then.
choose_ovs() {
  case ${DAOLINET_OVS:=auto} in
    host | plugin) ;;
    auto)
      DAOLINET_OVS=''
      [ ! -f $STATE/ovs-of ] || read -r DAOLINET_OVS <$STATE/ovs-of
      if [ "$DAOLINET_OVS" != host ] && [ "$DAOLINET_OVS" != plugin ]; then
        DAOLINET_OVS=plugin
        ! host_has_ovs || DAOLINET_OVS=host
        echo $DAOLINET_OVS >$STATE/ovs-of.new && mv $STATE/ovs-of.new $STATE/ovs-of
      fi
      ;;
    *) return ;; # daolinetd refuses the value by name
  esac
  export DAOLINET_OVS
}

# place_ovs_sockets: /run/openvswitch is the host's or our own, so that nobody else needs to know whose OVS it is.
place_ovs_sockets() {
  rm -rf /run/openvswitch
  if [ "$DAOLINET_OVS" = plugin ]; then
    mkdir -p -m 755 /run/openvswitch $STATE/ovs
    ovs-dpctl dump-dps >/dev/null 2>&1 # asking for the kernel's datapath loads its module, where there is one
  else
    ln -s $HOST_RUN/openvswitch /run/openvswitch
  fi
}

# stop: daolinetd first, while what it writes to is still there.
stop() {
  trap '' TERM
  if [ -n "$agent" ]; then
    kill -TERM "$agent" 2>/dev/null
    wait "$agent"
  fi
  if [ -n "$servers" ]; then
    # shellcheck disable=SC2086
    kill -TERM $servers 2>/dev/null
    # shellcheck disable=SC2086
    wait $servers
  fi
  exit 0
}

agent='' servers=''
trap stop TERM # first of all: the kernel drops what process 1 has no handler for
mkdir -p -m 700 $RUN $RUN/members
chmod 700 $RUN
choose_ovs
place_ovs_sockets

keep 'ovsdb-server of the directory' $OVS_GRACE directory &
servers=$!
if [ "$DAOLINET_OVS" = plugin ]; then
  say "no Open vSwitch runs on this host; using the plugin's own, which stops with the plugin"
  keep 'ovsdb-server of the switch' $OVS_GRACE switch_database &
  servers="$servers $!"
  keep ovs-vswitchd $OVS_GRACE switch &
  servers="$servers $!"
fi
keep daolinetd $AGENT_GRACE agent &
agent=$!

# The waits reap orphans, too. A keeper that is gone (out of memory, say) is no reason to go on half supervised: Docker
# starts a plugin again whose process 1 has ended.
while :; do
  sleep 10 &
  wait $!
  for keeper in $agent $servers; do
    kill -0 "$keeper" 2>/dev/null || { say "a keeper was killed; starting the plugin anew"; exit 1; }
  done
done
