# The root file system of the managed plugin. Not an image to run: plugin/build.sh builds it, exports the last stage and
# makes the plugin of it. The context is build/context, which plugin/build.sh fills:
#   node.tgz (Node.js from the npm registry), collect.sh, supervisor.sh, daolictl.sh, main.cjs, daolinetd.cjs, daolictl.cjs, directory.ovsschema
# Layers go from what changes rarely to what changes with every edit.

ARG BASE=debian:trixie-slim
FROM ${BASE} AS programs
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
      binutils conntrack ethtool iproute2 iptables iputils-ping nftables openvswitch-common openvswitch-switch tcpdump \
      wireguard-go wireguard-tools \
 && rm -rf /var/lib/apt/lists/*
COPY node.tgz /tmp/
RUN tar -xzf /tmp/node.tgz -C /usr/local --strip-components=1 package/bin/node package/LICENSE \
 && strip /usr/local/bin/node \
 && rm /tmp/node.tgz
COPY collect.sh /tmp/
RUN sh /tmp/collect.sh /collected

FROM scratch
COPY --from=programs /collected /
COPY supervisor.sh /usr/lib/daolinet/supervisor.sh
COPY directory.ovsschema /usr/share/daolinet/directory.ovsschema
COPY daolictl.sh /usr/local/bin/daolictl
COPY main.cjs daolinetd.cjs daolictl.cjs /usr/lib/daolinet/
CMD ["/bin/sh", "/usr/lib/daolinet/supervisor.sh"]
