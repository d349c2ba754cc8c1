#!/usr/bin/env bats
# SPDX-License-Identifier: GPL-2.0
#
# The two objects, and the small vmlinux.h that they are built with.

bats_require_minimum_version 1.5.0
# bats file_tags=beside
load assert.bash

setup() {
	ROOT=$(cd "$BATS_TEST_DIRNAME/.." && pwd)
	cp -r "$ROOT"/*.[ch] "$ROOT/bpf" "$ROOT/Makefile" "$BATS_TEST_TMPDIR"
	cd "$BATS_TEST_TMPDIR"
}

@test "build: without warnings, with the repository's vmlinux.h" {
	run -0 make all
	output_lacks warning
}

# bats test_tags=long
@test "build: without warnings, with the full dump of the running kernel" {
	make vmlinux
	run -0 make all VMLINUX=build
	output_lacks warning
	grep -q build/vmlinux.h build/bpf_sockops.d
}

# bats test_tags=long
@test "build: a changed header rebuilds both objects" {
	make all
	touch -d '+1 minute' bpf_sockops.h
	run -0 make all
	output_has bpf_sockops.o bpf_tcpip_bypass.o
}

# Beside the full dump, with the small header's structs renamed small_*: every
# member exists there, with the same size, in contexts at the same offset too;
# every constant has the same value.
@test "vmlinux.h: agrees with the running kernel's types" {
	make vmlinux
	{
		echo '#define BPF_NO_PRESERVE_ACCESS_INDEX'
		echo '#include "build/vmlinux.h"'
		sed -n '/^\/\* Contexts/,/^#pragma clang attribute pop/p' vmlinux.h |
			sed -E '/^#pragma/d; /^typedef struct/,/^}/d; s/^struct ([a-z0-9_]+) \{/struct small_\1 {/'
		awk '
			/^typedef struct/ { skip = 1 }
			/^struct [a-z0-9_]+ \{/ {
				type = $2
				context = type ~ /^(bpf_sock|bpf_sock_ops|sk_msg_md)$/
			}
			/^}/ { type = skip = "" }
			type && !skip && (context || /^\t[^\t]/) && /;$/ && !/}/ && !/:/ {
				sub(/(\[[0-9]+\])?;$/, "")
				member = $NF
				sub(/^\*+/, "", member)
				full = "struct " type
				small = "struct small_" type
				printf "_Static_assert(sizeof(((%s *)0)->%s) == sizeof(((%s *)0)->%s), \"size of %s.%s\");\n", full, member, small, member, type, member
				if (context)
					printf "_Static_assert(__builtin_offsetof(%s, %s) == __builtin_offsetof(%s, %s), \"offset of %s.%s\");\n", full, member, small, member, type, member
			}
			/^\t[A-Z][A-Z0-9_]+ = .*,$/ {
				sub(/,$/, "")
				printf "_Static_assert(%s == (%s), \"value of %s\");\n", $1, substr($0, index($0, "= ") + 2), $1
			}' vmlinux.h
	} >check.c
	have=$(grep -c _Static_assert check.c)
	have_want "assertions" "$have" -gt 120
	clang -target bpf -fsyntax-only check.c
	# The check can fail.
	sed -i 's/__u32 local_ip4;/__u64 local_ip4;/' check.c
	run ! clang -target bpf -fsyntax-only check.c
}
