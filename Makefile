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
BIN      ?= bin
DIST     ?= dist

stamp     = $(if $(2),-X belabox-metrics/shared/buildinfo.$(1)=$(2))
# HTTP/1.1 is all that VictoriaMetrics and its proxies ask for; without HTTP/2 each
# program is half a megabyte smaller, and as much less of it is in memory.
TAGS     := nethttpomithttp2
GOBUILD  := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -tags $(TAGS) \
            -ldflags '-s -w $(call stamp,Version,$(VERSION)) $(call stamp,Commit,$(COMMIT))'
TOOL     := $(GO) tool -modfile=shared/devtools/go.mod
# linux-arm7 -> GOOS=linux GOARCH=arm GOARM=7
cross     = GOOS=$(word 1,$(subst -, ,$(1))) \
            $(patsubst GOARCH=arm7,GOARCH=arm GOARM=7,GOARCH=$(word 2,$(subst -, ,$(1))))
# The race detector sees this process alone: e2e and bench drive separate programs.
RACE_PKGS ?= $(shell $(GO) list ./... | grep -vE '/(e2e|bench)(/|$$)')

.DEFAULT_GOAL := help
.PHONY: help build build-all run test test-deps test-systemd race lint fmt vet-cross bench fuzz crash powercut soak \
        install install-files deb release clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build static collectord, shipperd and receiver into bin/
	$(GOBUILD) -o bin/ $(PROGRAMS)

build-all: $(TARGETS:%=build-%) ## Build them for every target into bin/OS-ARCH/

build-%:
	$(call cross,$*) $(GOBUILD) -o bin/$*/ $(PROGRAMS)

run: build ## Run both daemons and a local sink, data under run/, until Ctrl-C
	@$(GO) build -o bin/devrun ./scripts/devrun
	@exec bin/devrun

test: test-deps ## Run all tests (installs what they need first)
	$(GO) test ./...

test-deps: ## Install the programs that the tests start (Debian packages)
	@scripts/test-deps.sh

race: test-deps ## Run the tests under the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -timeout 30m $(RACE_PKGS)

test-systemd: ## Boot a Debian, install the package in it, and put it through its life (root)
	@scripts/test-deps.sh systemd
	$(GO) test -tags systemdtest ./systemd -count 1 -timeout 30m -parallel 8 -v -run '^TestSystem'

lint: ## Check format, vet, modern Go, staticcheck and the module files
	@bad=$$($(TOOL) gofumpt -l .); if [ -n "$$bad" ]; then \
		printf 'not formatted, run "make fmt":\n%s\n' "$$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags bench,systemdtest ./...
	$(GO) fix -diff ./...
	$(TOOL) staticcheck ./...
	$(TOOL) staticcheck -tags systemdtest ./systemd
	$(GO) mod tidy -diff
	cd shared/devtools && $(GO) mod tidy -diff
	cd shared/devtools/nfpm && $(GO) mod tidy -diff

fmt: ## Bring all Go files into the form that lint wants
	$(GO) fix ./...
	$(TOOL) gofumpt -w .

vet-cross: $(TARGETS:%=vet-%) ## Vet for every target

vet-%:
	$(call cross,$*) CGO_ENABLED=0 $(GO) vet ./...

bench: build test-deps ## Run the benchmarks of the packages, then those of whole programs
	@scripts/bench.sh

fuzz: ## Run every fuzz test for FUZZTIME (20s)
	@scripts/fuzz.sh $(FUZZTIME)

crash: test-deps ## Kill everything at random for ROUNDS (200) rounds and count what is lost
	$(GO) test ./e2e -run '^TestCrash' -count 1 -timeout 0 -v -crash.rounds=$(ROUNDS)

powercut: test-deps ## Cut the power at random for ROUNDS (200) rounds on a disk that forgets what was not synced
	$(GO) test ./e2e -run '^TestPowerCut' -count 1 -timeout 0 -v -powercut.rounds=$(ROUNDS)

soak: test-deps ## Break server and network at random for DURATION (30m), then count; MODE=transport: the server alone
	$(GO) test ./e2e -run '^TestSoak$$/^$(MODE)$$' -count 1 -timeout 0 -v -soak.for=$(DURATION)

install: build install-files ## Install into DESTDIR or this system; a configuration that is there stays
	[ -e $(DESTDIR)/etc/belabox-metrics/config.yaml ] || \
		install -D -m 644 systemd/config.yaml $(DESTDIR)/etc/belabox-metrics/config.yaml
	@echo "next, on the system itself: systemd-sysusers && systemctl daemon-reload && systemctl enable --now belabox-collectord belabox-shipperd"

# The units name /usr/bin, so there is no prefix to choose.
install-files:
	install -D -m 755 $(BIN)/collectord $(DESTDIR)/usr/bin/belabox-collectord
	install -D -m 755 $(BIN)/shipperd $(DESTDIR)/usr/bin/belabox-shipperd
	install -d $(DESTDIR)/usr/lib/systemd/system $(DESTDIR)/usr/lib/sysusers.d \
		$(DESTDIR)/usr/share/man/man5 $(DESTDIR)/usr/share/man/man8 $(DESTDIR)/usr/share/doc/belabox-metrics
	install -m 644 systemd/belabox-*.service $(DESTDIR)/usr/lib/systemd/system/
	install -m 644 systemd/sysusers.conf $(DESTDIR)/usr/lib/sysusers.d/belabox-metrics.conf
	for page in systemd/man/*.[58]; do name=$${page##*/}; \
		gzip -9n <$$page >$(DESTDIR)/usr/share/man/man$${name##*.}/$$name.gz; done
	install -m 644 docs/operations.md $(DESTDIR)/usr/share/doc/belabox-metrics/

deb: $(DEB_TARGETS:%=deb-%) ## Make the Debian packages for amd64, arm64 and armhf into dist/

deb-%:
	$(call cross,$*) $(GOBUILD) -o $(DIST)/bin-$*/ ./collectord ./shipperd
	@scripts/deb.sh $* $(PACKAGE_VERSION) $(DIST)

release: ## Build packages, checksums and notes for VERSION into dist/ (TRIAL=1: without the checks)
	@scripts/release.sh $(PACKAGE_VERSION) $(DIST)

clean: ## Remove what make built (run/ with its data stays)
	rm -rf bin dist
