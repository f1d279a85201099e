# belabox-metrics. "make help" lists the targets.

GO       ?= go
ROUNDS   ?= 200
DURATION ?= 30m
MODE     ?= faults
FUZZTIME ?= 20s

# Without a tag the version is the one in shared/buildinfo.
VERSION  := $(or $(VERSION),$(patsubst v%,%,$(shell git describe --tags --match 'v*' --dirty 2>/dev/null)))
COMMIT   := $(shell git describe --always --abbrev=12 --exclude '*' --dirty 2>/dev/null)
# Packages must have one.
PACKAGE_VERSION = $(or $(VERSION),$(shell sed -n 's/.*Version = "\(.*\)"/\1/p' shared/buildinfo/buildinfo.go))
PROGRAMS := ./collectord ./shipperd ./docker/receiver
# Where the daemons must run; GOARM=7 is armhf. darwin is for developers.
TARGETS  := linux-amd64 linux-arm64 linux-arm7 darwin-arm64
DEB_TARGETS := linux-amd64 linux-arm64 linux-arm7
# The daemons of the boards, which qemu-user runs on any machine. ARM_LONG are tests that
# test-arm leaves to test-arm-all. ARM_NOT cannot pass in qemu-user: it does not say at which
# address a bus error was, and SQLite survives only one in the shared memory of its WAL; it
# does not hand over TCP_INFO.
ARM_PKGS ?= ./collectord/internal/proc ./collectord/internal/sample ./shipperd/internal/chunk ./shared/store/...
ARM_LONG ?= ^Test(Crash|DiskFull_.*|EnforceBudget_(Enough|Records)|Insert_Full.*|Model|Reader_ProbeProperty|Record_AnyClock|Rows_Garbage|Salvage_(BothStart|Damage|Epochs|EveryPage|NeverOver|Random))$$
ARM_NOT  := ^TestWatch_Cut$$/^cut-shm$$|^TestMeter_CountsWhatTheInterfaceDoes$$
emulator  = $(if $(filter arm64,$(1)),qemu-aarch64,qemu-arm)
BIN      ?= bin
DIST     ?= dist

stamp     = $(if $(2),-X belabox-metrics/shared/buildinfo.$(1)=$(2))
# HTTP/1.1 is all that VictoriaMetrics and its proxies ask for; without HTTP/2 each
# program is half a megabyte smaller, and as much less of it is in memory.
TAGS     := nethttpomithttp2
GOBUILD  := $(GO) build -trimpath -buildvcs=false -tags $(TAGS) \
            -ldflags '-s -w $(call stamp,Version,$(VERSION)) $(call stamp,Commit,$(COMMIT))'
TOOL     := $(GO) tool -modfile=shared/devtools/go.mod
# linux-arm7 -> GOOS=linux GOARCH=arm GOARM=7
cross     = GOOS=$(word 1,$(subst -, ,$(1))) \
            $(patsubst GOARCH=arm7,GOARCH=arm GOARM=7,GOARCH=$(word 2,$(subst -, ,$(1))))
# The race detector sees the process of the test alone. Left out are packages whose tests
# start programs or read files of the repository, packages without a goroutine, and tests
# that take long because they start many programs, fill the memory or simulate hours
# (RACE_LONG).
RACE_PKGS ?= $(shell $(GO) list ./... | grep -vE '/(e2e|bench|docs|docker|docker/grafana|scripts|systemd|migrations|config|selector|salvage|chunk|truetime)$$')
RACE_LONG ?= ^Test(DedupInterval_Crash|Files_Odd|Fleet_ManySamples|Hostile_Bombs|Import_(Count)?Limits|Machine_(EveryTransition|SQLite)|Poison_SickServer|Root_FollowsNoLink|Budget|Thrift_Month)$$
# SQLite itself, C translated to Go, is most of what the tests execute, and three times
# slower with the detector. It is left out; its locks and the driver around it are not.
RACE_FLAGS := -race -gcflags=modernc.org/sqlite/lib=-race=false -timeout 60m
# All but the race detector does without a C compiler. One setting for all targets also
# means that the packages in common are compiled once, by builds and tests.
export CGO_ENABLED := 0
export GOFLAGS := $(GOFLAGS) -trimpath

.DEFAULT_GOAL := help
.PHONY: help build build-all run test test-arm test-arm-all test-deps test-wal test-systemd test-docker test-distros race lint fmt vet-cross bench fuzz crash damage powercut random soak fronts \
        install install-files deb release vuln clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build static collectord, shipperd and receiver into bin/
	$(GOBUILD) -o bin/ $(PROGRAMS)

build-all: $(TARGETS:%=build-%) ## Build them for all targets into bin/OS-ARCH/

build-%:
	$(call cross,$*) $(GOBUILD) -o bin/$*/ $(PROGRAMS)

run: build ## Run both daemons and a local sink, with data under run/; Ctrl-C ends it
	@$(GO) build -o bin/devrun ./scripts/devrun
	@exec bin/devrun

test: test-deps ## Run all tests, in 4 minutes on two cores; installs what they need
	$(GO) test -timeout 20m ./...

test-deps: ## Install the Debian packages that the tests need
	@scripts/test-deps.sh

race: test-deps ## Run the tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test $(RACE_FLAGS) -skip '$(RACE_LONG)' $(RACE_PKGS)

test-wal: ## Test the write-ahead log with its default limit of 64 MB; make test uses a smaller one
	$(GO) test ./shared/wal -run '^TestWAL_StaysBelowItsLimit$$' -count 1 -wal.mb=256

test-systemd: ## Test the Debian package in a container with systemd (needs root)
	@scripts/test-deps.sh systemd
	$(GO) test -tags systemdtest ./systemd -count 1 -timeout 30m -parallel 8 -v -run '^TestSystem'

test-distros: ## Install, upgrade from 1.0.0 and remove the package on all distributions (needs root and a whole clone)
	@scripts/test-deps.sh systemd
	$(GO) test -tags systemdtest ./systemd -count 1 -timeout 90m -parallel 2 -v -run '^TestDistros$$'

test-docker: ## Walk through docker/README.md with a Docker engine (needs root and a running dockerd)
	@scripts/test-deps.sh docker
	$(GO) test -tags dockertest ./docker -count 1 -timeout 30m -v -run '^TestEngine$$'

lint: ## Check the format, go vet, go fix, staticcheck and the go.mod files
	@bad=$$($(TOOL) gofumpt -l .); if [ -n "$$bad" ]; then \
		printf 'not formatted, run "make fmt":\n%s\n' "$$bad"; exit 1; fi
	$(GO) vet -tags bench,systemdtest,dockertest ./...
	$(GO) fix -diff -tags bench,systemdtest,dockertest ./...
	$(TOOL) staticcheck -tags bench,systemdtest,dockertest ./...
	$(GO) mod tidy -diff
	cd shared/devtools && $(GO) mod tidy -diff

fmt: ## Format all Go files as lint wants them
	$(GO) fix -tags bench,systemdtest,dockertest ./...
	$(TOOL) gofumpt -w .

test-arm: main-arm-linux-arm64 test-arm-linux-arm7 ## Run the ARM builds in qemu-user: the main job, and on 32 bits tests of store, collectors and chunks

test-arm-all: ## The same on both with the tests of all packages of the daemons, also the long ones
	$(MAKE) test-arm-linux-arm64 test-arm-linux-arm7 ARM_LONG='^$$$$' ARM_PKGS='$(shell $(GO) list ./collectord/... ./shipperd/... ./shared/... | grep -vE '/(testkit|page)')'

# There is no binfmt_misc: TEST_EMULATOR runs what the tests start, TEST_ARCH the daemons.
main-arm-linux-%: test-deps
	TEST_ARCH=$* $(GO) test ./e2e -run '^TestMainJob$$' -count 1 -v -timeout 60m

test-arm-linux-%: main-arm-linux-%
	TEST_EMULATOR=$(call emulator,$*) $(call cross,linux-$*) $(GO) test -tags $(TAGS) -exec $(call emulator,$*) $(ARM_PKGS) -skip '$(ARM_LONG)|$(ARM_NOT)' -timeout 60m

# lint has vetted for linux-amd64, and arm64 differs from it in nothing that vet looks at.
vet-cross: vet-linux-arm7 vet-darwin-arm64 ## Run go vet for 32 bits and for macOS

vet-%:
	$(call cross,$*) $(GO) vet -tags $(TAGS) ./...

bench: build test-deps ## Run the benchmarks of the packages, then compare the programs with others
	@scripts/bench.sh

fuzz: ## Run each fuzz test for FUZZTIME (20s)
	@scripts/fuzz.sh $(FUZZTIME)

crash: test-deps ## Kill daemons and server at random, ROUNDS (200) times, and count lost samples
	$(GO) test ./e2e -run '^TestCrash' -count 1 -timeout 0 -v -crash.rounds=$(ROUNDS)

powercut: test-deps ## Simulate power cuts, ROUNDS (200) times, and count lost samples
	$(GO) test ./e2e -run '^TestPowerCut' -count 1 -timeout 0 -v -powercut.rounds=$(ROUNDS)

random: ## Mix all faults of server and loop at random in simulated lives, ROUNDS (200) of them
	$(GO) test ./shipperd/internal/ship -run '^TestRandom$$' -count 1 -timeout 0 -random.rounds=$(ROUNDS)

damage: test-deps ## Damage ROUNDS (200) files in two dozen ways, and count lost samples
	$(GO) test ./e2e -run '^TestDamage$$' -count 1 -timeout 0 -v -damage.rounds=$(ROUNDS)

soak: test-deps ## Break server and network at random for DURATION (30m); MODE=transport: the server alone
	$(GO) test ./e2e -run '^TestSoak$$/^$(MODE)$$' -count 1 -timeout 0 -v -soak.for=$(DURATION)

fronts: test-deps ## Put captive portals, queues and the like before the server, for as long as they last (20 minutes)
	$(GO) test ./e2e -run '^TestFronts$$' -count 1 -timeout 0 -v -fronts.long

install: build install-files ## Install into DESTDIR or this system; keeps an existing configuration
	[ -e $(DESTDIR)/etc/belabox-metrics/config.yaml ] || \
		install -D -m 644 systemd/config.yaml $(DESTDIR)/etc/belabox-metrics/config.yaml
	@echo "next, on the system itself: systemd-sysusers && systemd-tmpfiles --create && systemctl daemon-reload && systemctl enable --now belabox-collectord belabox-shipperd"

# The units name /usr/bin, so there is no prefix to choose.
install-files:
	install -D -m 755 $(BIN)/collectord $(DESTDIR)/usr/bin/belabox-collectord
	install -D -m 755 $(BIN)/shipperd $(DESTDIR)/usr/bin/belabox-shipperd
	install -d $(DESTDIR)/usr/lib/systemd/system $(DESTDIR)/usr/lib/sysusers.d $(DESTDIR)/usr/lib/tmpfiles.d \
		$(DESTDIR)/usr/share/man/man5 $(DESTDIR)/usr/share/man/man8 $(DESTDIR)/usr/share/doc/belabox-metrics
	install -m 644 systemd/belabox-*.service $(DESTDIR)/usr/lib/systemd/system/
	install -m 644 systemd/sysusers.conf $(DESTDIR)/usr/lib/sysusers.d/belabox-metrics.conf
	install -m 644 systemd/tmpfiles.conf $(DESTDIR)/usr/lib/tmpfiles.d/belabox-metrics.conf
	umask 022; for page in systemd/man/*.[58]; do name=$${page##*/}; \
		gzip -9n <$$page >$(DESTDIR)/usr/share/man/man$${name##*.}/$$name.gz; done
	install -m 644 docs/operations.md $(DESTDIR)/usr/share/doc/belabox-metrics/

deb: $(DEB_TARGETS:%=deb-%) ## Build the Debian packages for amd64, arm64 and armhf into dist/

deb-%:
	$(call cross,$*) $(GOBUILD) -o $(DIST)/bin-$*/ ./collectord ./shipperd
	@scripts/deb.sh $* $(PACKAGE_VERSION) $(DIST)

release: ## Build packages, checksums and notes for VERSION into dist/ (TRIAL=1: without the checks)
	@scripts/release.sh $(PACKAGE_VERSION) $(DIST)

vuln: ## Look for known vulnerabilities in dependencies (needs a network)
	@$(TOOL) govulncheck ./... || { code=$$?; [ $$code = 3 ] || \
		echo 'govulncheck did not finish: it needs https://vuln.go.dev, or GOVULNDB with the address of a copy' >&2; exit $$code; }

clean: ## Remove what make built; keeps run/
	rm -rf bin dist
