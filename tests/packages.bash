# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# How run.sh, kernels.sh and bench/bench.sh install packages.

# install_packages PACKAGE...: Debian's, starting none of their servers.
install_packages() {
	apt-get update -q
	(
		policy=/usr/sbin/policy-rc.d
		if [[ ! -e $policy ]]; then
			trap 'rm -f "$policy"' EXIT
			printf '#!/bin/sh\nexit 101\n' >"$policy"
			chmod 755 "$policy"
		fi
		DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$@"
	)
}
