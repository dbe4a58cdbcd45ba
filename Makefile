# SPDX-License-Identifier: Apache-2.0
# Names for the scripts that do the work; each of them has --help.

MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
# Progress lines show the time since make was called.
export FAMLAB_START := $(shell date +%s.%6N)
# The scripts change directory, so relative names must not reach them.
override export KERNEL := $(abspath $(KERNEL))
override export KERNEL_SRC := $(abspath $(KERNEL_SRC))
override export FAMFS_BIN := $(abspath $(FAMFS_BIN))
# A plain name that is no file here is looked up in PATH.
override export QEMU := $(if $(findstring /,$(QEMU))$(wildcard $(QEMU)),$(abspath $(QEMU)),$(QEMU))

# How the programs and unit tests of `make test` are compiled, and where.
SANITIZE ?= address
SANITIZERS = address thread none
ifeq ($(filter $(SANITIZE),$(SANITIZERS)),)
$(error SANITIZE=$(SANITIZE): it can be one of: $(SANITIZERS))
endif
TESTED := $(if $(filter none,$(SANITIZE)),build/host,build/sanitize-$(SANITIZE))

# A progress line like those of the scripts.
say = @bash -c '. setup/cache.sh && say "$$@"' make test $(1)

define HELP
make                  compile the programs for this machine: build/bin/{famfs,mkfs.famfs,famfsd}
make test             unit tests and tests/host, no virtual machine; with the address and
                      undefined behaviour sanitizers, or as SANITIZE= says
make test-vm          the multi-host suite, tests/vm; builds all that it needs
make test-crash       what a host can leave in the memory that dies while it makes or changes
                      a file system: each such state is judged
make test-schedules   two hosts do something at once, in many orders of what reaches the memory
make bench [SUITE=]   the benchmarks, tests/bench, or those that SUITE names
make install          programs, manual pages and the rest into /usr, or DESTDIR=DIR/usr
make deb              the Debian package: build/packages
make lint             formatting, static checks and types of every language

make tree             build/tree, the Debian 13 tree (QEMU, kernel source, compilers)
make lint-tree        build/lint-tree, the checkers
make kernel           build/kernel
make image            build/image, the guests' root file system
make guest            build/guest/bin, the programs as the guests run them
make noncoherent      build/noncoherent, the plugin that gives guests caches of their own
make guest-tests      build/guest/tests, the tests' own programs for guests
make lab              all of these, and what vm/famlab needs of the machine

make clean            remove build/
make distclean        remove build/ and the cache that clones share

FULL=1 SHARD=2/5 JOBS=2                        all tests, a part of them, so many at once
HOSTS=2,4 TOPOLOGY=switch DAX=fsdev_dax CPUS=4 which labs
SANITIZE=none                                  test: as installed; thread: with ThreadSanitizer
TESTS=EXPRESSION ROUNDS=100 SEED=NUMBER        which tests; how often hosts are killed, and which
FAMFS_BIN=DIR                                  test and test-vm: famfs, mkfs.famfs and famfs_fused
                                               (or famfsd) of somebody else
KERNEL_SRC=DIR KERNEL=FILE KERNEL_FLAVOR=NAME  another kernel (kernel-config/build.sh --help)
QEMU=FILE MIRROR=URI FAMLAB_CACHE=DIR           another emulator, Debian mirror, cache
endef

.PHONY: host test test-vm test-crash test-schedules famfs-bin bench documents install deb lint tree lint-tree kernel image guest guest-tests noncoherent lab clean distclean help
host: need-build
	@setup/compile.sh build/host all

# The tests of the lab itself and of the runner: not again for a change of daemon/ alone.
RUNNER_TESTED := build/runner-tests.passed
$(RUNNER_TESTED): $(if $(FULL),need-test) | need-test
$(RUNNER_TESTED): pyproject.toml $(shell find vm tests setup images -type f ! -name '*.pyc' ! -name '* *')
	$(call say,tests of vm/ and of tests/support)
	@/usr/bin/python3 -B -m pytest -q -p no:cacheprovider -c pyproject.toml -n $$(nproc) \
		vm/tests tests/support/tests
	@mkdir -p $(@D) && touch $@

test: export ASAN_OPTIONS = abort_on_error=1:detect_leaks=1
test: export UBSAN_OPTIONS = print_stacktrace=1
test: export TSAN_OPTIONS = halt_on_error=1
test: famfs-bin need-test $(RUNNER_TESTED)
	@setup/compile.sh $(TESTED) all,unit-tests $(if $(filter none,$(SANITIZE)),, \
		-DFAMFS_SANITIZE=$(SANITIZE) -DFAMFS_BIN_DIR=$(CURDIR)/$(TESTED)/bin \
		-DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O0 -g1")
	$(call say,unit tests of daemon/)
	@ctest --test-dir $(TESTED) --output-on-failure -j$$(nproc)
	$(call say,$$(awk '/^\[  PASSED  \]/ { n += $$4 } END { print n + 0 }' \
		$(TESTED)/Testing/Temporary/LastTest.log) unit tests passed)
	$(call say,unit tests of vm/noncoherent)
	@setup/compile.sh --sources vm/noncoherent $(TESTED)-noncoherent all \
		-DFAMFS_SANITIZE=$(filter-out none,$(SANITIZE)) -DCMAKE_BUILD_TYPE=Debug
	@ctest --test-dir $(TESTED)-noncoherent --output-on-failure
	$(call say,tests/host)
	@$(if $(FAMFS_BIN)$(filter none,$(SANITIZE)),,FAMFS_BIN=$(CURDIR)/$(TESTED)/bin )tests/run host

test-vm: famfs-bin lab guest-tests
	@tests/run vm

# Labs do the operations, the programs of this machine judge what they can leave.
# Not with those of test-vm, of whose shards one report is made.
test-crash: export FAMLAB_TEST_RESULTS ?= $(CURDIR)/build/results/crash
test-crash: famfs-bin $(if $(FAMFS_BIN),,host) lab guest-tests
	@tests/run vm vm/crash.py

test-schedules: export FAMLAB_TEST_RESULTS ?= $(CURDIR)/build/results/schedules
test-schedules: famfs-bin lab guest-tests
	@tests/run vm vm/schedules.py

# Before anything is built, as that takes a while.
famfs-bin: $(if $(FAMFS_BIN),need-test)
	$(if $(FAMFS_BIN),@cd tests && /usr/bin/python3 -B -m support.programs)

# These measure the programs of this machine, without the lab.
HOST_SUITES = daemon log
bench: need-test host $(if $(filter $(HOST_SUITES),$(SUITE)),,lab guest-tests)
	@tests/run bench $(SUITE:%=bench/test_%.py)

# Manual pages and what else is generated for an installation.
documents: need-package host
	@setup/compile.sh build/host documents

install: documents
	@cmake --install build/host --prefix /usr >/dev/null

deb: documents
	@cd build/host && cpack

lint: need-tree
	@setup/tree.sh lint-tree
	@ci/lint.sh

lab: need-vm kernel image noncoherent $(if $(FAMFS_BIN),,guest)

tree: need-tree
	@setup/tree.sh

lint-tree: need-tree
	@setup/tree.sh lint-tree

kernel: tree
	@kernel-config/build.sh

image: tree
	@images/build-image.sh

guest: tree
	@images/build-guest.sh

# What gives guests caches that are not coherent.
noncoherent: tree
	@setup/compile-in-tree.sh noncoherent vm/noncoherent build/noncoherent-objects build/noncoherent

# The tests' own programs for guests.
guest-tests: tree
	@images/build-guest.sh tests/guest tests

clean:
	rm -rf build

# The cache first: if it is in use, nothing is removed.
distclean:
	@setup/clean-cache.sh
	rm -rf build

help:
	$(info $(HELP))
	@:

# What the machine itself must have.
.PHONY: need-build need-package need-test need-tree need-vm
need-build need-package need-test need-tree need-vm: need-%:
	@setup/preflight.sh $*
	@setup/host-packages.sh $*
