# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# Which version this is.  Sourced by common.sh.  CHANGELOG.md and debian/changelog begin with the
# same number (tests/versions.bats).
#
# shellcheck disable=SC2034 # names that only some scripts use

VERSION=1.2

# What the programs and the scripts agree upon: the layout of records, keys and maps, which is in
# tests/layout.expected (tests/versions.bats).  Pairs with the same number can be changed by the
# scripts of each other.  Raise it with each change there, up to 255, but for what is put where
# nothing was, if a 0 in older records is right.
LAYOUT=1
