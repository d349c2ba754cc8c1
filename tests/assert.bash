# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Assertions that say what they have and what they want.

# have_want WHAT HAVE OPERATOR WANT: an assertion that says what it found.
have_want() {
	if ! test "$2" "$3" "$4"; then
		echo "$1: have $2, want $3 $4" >&2
		return 1
	fi
}

# output_has TEXT...: what `run` has caught has these texts, in this order.
# shellcheck disable=SC2154 # `run` sets $output
output_has() {
	local text rest=$output
	for text; do
		[[ $rest == *"$text"* ]] || {
			echo "have: $output" >&2
			echo "want, in this order: $(printf "'%s' " "$@")" >&2
			return 1
		}
		rest=${rest#*"$text"}
	done
}

# output_lacks TEXT
# shellcheck disable=SC2154
output_lacks() {
	if [[ $output == *"$1"* ]]; then
		echo "have: $output" >&2
		echo "want none of: '$1'" >&2
		return 1
	fi
}
