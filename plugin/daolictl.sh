#!/bin/sh
# daolictl as the plugin has it, for hosts without Node.js of their own:
#   nsenter --mount --target "$(pgrep -xo daolinetd)" daolictl …
exec node /usr/lib/daolinet/daolictl.cjs --socket /host/run/daolinet/api.sock "$@"
