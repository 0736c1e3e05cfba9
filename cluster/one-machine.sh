#!/usr/bin/env bash
# Starts a Ray cluster of this machine alone, with token authentication and the dashboard on 127.0.0.1.
#
#   cluster/one-machine.sh                        # then: transmeta submit --address http://127.0.0.1:8265 -- ...
#   cluster/one-machine.sh --num-cpus=2 --block   # any option of `ray start`; the last one given counts
#
# `ray stop` ends it. The token lies in ~/.ray/auth_token, unless RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH say otherwise.
# Ray's other ports listen on all interfaces and ask for the token; a firewall should close them as well.
set -euo pipefail
umask 077

export RAY_AUTH_MODE=token
ray get-auth-token --generate >/dev/null
if [[ -f "$HOME/.ray/auth_token" ]]; then
  chmod 600 "$HOME/.ray/auth_token" # Ray writes it readable for everybody
fi

# /tmp/ray would be shared with the other people on this machine.
folder="/tmp/ray-$(id -u)"
mkdir -p -m 700 "$folder"
if [[ ! -O "$folder" ]]; then
  echo "$folder belongs to somebody else; remove it, or give --temp-dir" >&2
  exit 1
fi

exec ray start --head \
  --dashboard-host=127.0.0.1 \
  --include-dashboard=true \
  --disable-usage-stats \
  --temp-dir="$folder" \
  "$@"
