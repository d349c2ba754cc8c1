# SPDX-License-Identifier: GPL-2.0
CLANG ?= clang
BPFTOOL ?= bpftool
CLANG_FORMAT ?= clang-format
SHELLCHECK ?= shellcheck
SHFMT ?= shfmt
AWK ?= awk

# Where vmlinux.h is: the small one of the repository, or `build` for a full dump.
VMLINUX ?= .

# v3: 32-bit registers and jumps.  Of the atomics, which came with it, the programs
# use the addition without result alone: 5.10 has no other.
BPF_CFLAGS := -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -I$(VMLINUX) -I. -Ibpf

CFLAGS := -O2 -g -Wall -Wextra -Werror -pthread

OBJECTS := $(patsubst %.c,build/%.o,$(notdir $(wildcard *.c bpf/*.c)))
C_FILES = $(wildcard *.[ch] bpf/*.[ch] bench/*.c tests/*.[ch] tests/*/*.[ch])
SHELL_FILES = $(wildcard *.sh lib/*.sh bench/*.sh bench/*.bash tests/*.sh tests/*/*.sh tests/*.bash) .ci/run $(wildcard debian/*.p[or]*)

ifeq ($(V),1)
Q :=
msg :=
else
Q := @
msg = @printf '  %-8s %s\n' "$(1)" "$(2)";
MAKEFLAGS += --no-print-directory
endif

# Where `make install` puts things; it needs no compiler.
PREFIX ?= /usr/local
LIBDIR := $(PREFIX)/lib/tcpip-bypass
UNITDIR ?= $(PREFIX)/lib/systemd/system
MANDIR ?= $(PREFIX)/share/man/man8
COMMANDS := load unload status
LIB_COMMANDS := lib/pod.sh lib/metrics_file.sh
UNITS := $(notdir $(wildcard systemd/*))

# What the tests and measurements run: both ends of a connection, and the control.
TEST_PROGRAMS := build/pair build/readers build/senders build/many build/stuck build/stale build/einval build/semantics build/bench \
	build/classic/bpf_sockops.o build/classic/bpf_tcpip_bypass.o build/other/flags.bpf.o build/other/map.bpf.o build/other/calls.bpf.o \
	build/other/empty.bpf.o build/other/names.bpf.o

.DELETE_ON_ERROR:
.PHONY: all vmlinux install uninstall test-programs test test-kernels model soak bench count lint format clean help

all: $(OBJECTS)

vpath %.c . bpf

$(OBJECTS): build/%.o: %.c
	$(call msg,CLANG,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -c $< -o $@

install: $(OBJECTS)
	$(call msg,INSTALL,$(DESTDIR)$(LIBDIR))
	$(Q)install -d $(addprefix $(DESTDIR)$(LIBDIR)/,build bpf lib docs)
	$(Q)install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(UNITDIR) $(DESTDIR)$(MANDIR)
	$(Q)install -m 644 $(OBJECTS) $(DESTDIR)$(LIBDIR)/build
	$(Q)install -m 644 bpf/counters.h $(DESTDIR)$(LIBDIR)/bpf
	$(Q)install -m 644 $(filter-out $(LIB_COMMANDS),$(wildcard lib/*.sh)) $(DESTDIR)$(LIBDIR)/lib
	$(Q)install -m 755 $(LIB_COMMANDS) $(DESTDIR)$(LIBDIR)/lib
	$(Q)install -m 644 docs/limits.md $(DESTDIR)$(LIBDIR)/docs
	$(Q)install -m 755 $(COMMANDS:=.sh) $(DESTDIR)$(LIBDIR)
	$(Q)set -e; umask 022; for command in $(COMMANDS); do \
		ln -sf $(LIBDIR)/$$command.sh $(DESTDIR)$(PREFIX)/sbin/tcpip-bypass-$$command; \
		./$$command.sh --help >build/$$command.help; \
		$(AWK) -f docs/man.awk build/$$command.help >$(DESTDIR)$(MANDIR)/tcpip-bypass-$$command.8; \
	done
	$(Q)set -e; umask 022; for unit in $(UNITS); do \
		sed 's|@LIBDIR@|$(LIBDIR)|' systemd/$$unit >$(DESTDIR)$(UNITDIR)/$$unit; \
	done

uninstall:
	$(call msg,REMOVE,$(DESTDIR)$(LIBDIR))
	$(Q)rm -f $(COMMANDS:%=$(DESTDIR)$(PREFIX)/sbin/tcpip-bypass-%)
	$(Q)rm -f $(COMMANDS:%=$(DESTDIR)$(MANDIR)/tcpip-bypass-%.8)
	$(Q)rm -f $(UNITS:%=$(DESTDIR)$(UNITDIR)/%)
	$(Q)rm -rf $(DESTDIR)$(LIBDIR)

test-programs: $(TEST_PROGRAMS)

build/%: tests/%.c
	$(call msg,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $< -o $@

build/pair build/readers: tests/stream.h

SEMANTICS := $(wildcard tests/semantics/*.c)

build/semantics: $(SEMANTICS) tests/semantics/semantics.h tests/stream.h
	$(call msg,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $(SEMANTICS) -o $@

build/%: bench/%.c
	$(call msg,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) $< -o $@

build/classic/%.o: tests/classic/%.c tests/classic/classic.h vmlinux.h
	$(call msg,CLANG,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

build/other/%.o: tests/other/%.c vmlinux.h
	$(call msg,CLANG,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -c $< -o $@

vmlinux:
	$(call msg,DUMP,build/vmlinux.h)
	$(Q)mkdir -p build
	$(Q)$(BPFTOOL) btf dump file /sys/kernel/btf/vmlinux format c >build/vmlinux.h

test:
	$(Q)tests/run.sh

soak:
	$(Q)tests/soak.sh $(MINUTES) $(SEED)

test-kernels:
	$(Q)tests/kernels.sh

model:
	$(Q)tests/model/run.sh $(if $(filter full,$(DEPTH)),--full)

bench:
	$(Q)bench/bench.sh $(ARGS)

count:
	$(Q)bench/count.sh $(ARGS)

lint:
	$(call msg,LINT,C)
	$(Q)$(CLANG_FORMAT) --dry-run -Werror $(C_FILES)
	$(call msg,LINT,shell)
	$(Q)$(SHELLCHECK) -x -e SC2016 $(SHELL_FILES)
	$(Q)$(SHFMT) -d $(SHELL_FILES) tests/*.bats

format:
	$(Q)$(CLANG_FORMAT) -i $(C_FILES)
	$(Q)$(SHFMT) -w $(SHELL_FILES) tests/*.bats

clean:
	$(Q)rm -rf build

help:
	@echo 'all      build the BPF objects (default); V=1 shows the commands'
	@echo 'vmlinux  dump the running kernel'"'"'s types to build/vmlinux.h; build against'
	@echo '         them with: make -B VMLINUX=build'
	@echo 'install  objects, scripts, man pages and systemd units below PREFIX (default:'
	@echo '         /usr/local), also with DESTDIR; uninstall removes them'
	@echo 'test     run the tests (as root; tests/run.sh --install-deps first installs what they need)'
	@echo 'test-kernels'
	@echo '         run a choice of them on other kernels, in qemu (as root; tests/kernels.sh)'
	@echo 'model    search the model of the handover, in minutes; with DEPTH=full also the large instances'
	@echo 'soak     a random mix of all patterns for MINUTES (default: 10), repeatable by SEED'
	@echo 'bench    compare with plain TCP, in 15 minutes; in 3 with ARGS=--quick (as root;'
	@echo '         bench/bench.sh --help)'
	@echo 'count    count instructions in qemu, and compare with what is checked in (as root;'
	@echo '         bench/count.sh)'
	@echo 'lint     clang-format, shellcheck and shfmt, without changing anything'
	@echo 'format   let clang-format and shfmt change the files'
	@echo 'clean    remove what make has built'

-include $(OBJECTS:.o=.d)
