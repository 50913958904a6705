# Installing Debian packages, for the scripts that source this file. Nothing is asked, and nothing that is there is touched.

export DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin"

has() { command -v "$1" >/dev/null; }

# What debootstrap checks Debian's signatures with; Debian has it, Ubuntu need not.
DEBIAN_KEYS=/usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring

# What emulated hosts (lab/) run, each by a program or file of it.
LAB_PROGRAMS="dockerd=docker.io ovs-vsctl=openvswitch-switch docker-registry=docker-registry debootstrap=debootstrap
  busybox=busybox-static $DEBIAN_KEYS ip=iproute2 iptables=iptables nft=nftables ethtool=ethtool conntrack=conntrack
  tcpdump=tcpdump iperf3=iperf3 ps=procps"

# missing_packages NAME=PACKAGE...: the packages of those programs or files that are not there, one a line.
missing_packages() {
  local pair
  for pair in "$@"; do
    case $pair in
      /*) [ -e "${pair%%=*}" ] ;;
      *) has "${pair%%=*}" ;;
    esac || echo "${pair#*=}"
  done | sort -u
}

# install_packages PACKAGE...: with the package lists as they are where that is enough, else with fresh ones.
install_packages() {
  has apt-get || { echo "there is no apt-get to install $* with" >&2; return 1; }
  local install=(apt-get install --yes --no-install-recommends)
  "${install[@]}" "$@" && return
  apt-get update && "${install[@]}" "$@"
}

# install_docker_client: newer releases have Docker's client in a package of its own.
install_docker_client() {
  has docker || install_packages docker-cli
}
