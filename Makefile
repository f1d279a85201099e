# belabox-metrics. "make help" lists the targets.

GO       ?= go
ROUNDS   ?= 200
FUZZTIME ?= 20s

# Without a tag the version is the one in shared/buildinfo.
VERSION  := $(or $(VERSION),$(patsubst v%,%,$(shell git describe --tags --match 'v*' --dirty 2>/dev/null)))
COMMIT   := $(shell git describe --always --abbrev=12 --exclude '*' --dirty 2>/dev/null)
PROGRAMS := ./collectord ./shipperd ./docker/receiver
# Where the daemons must run; GOARM=7 is armhf. darwin is for developers.
TARGETS  := linux-amd64 linux-arm64 linux-arm7 darwin-arm64

stamp     = $(if $(2),-X belabox-metrics/shared/buildinfo.$(1)=$(2))
GOBUILD  := CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false \
            -ldflags '-s -w $(call stamp,Version,$(VERSION)) $(call stamp,Commit,$(COMMIT))'
TOOL     := $(GO) tool -modfile=shared/devtools/go.mod
# linux-arm7 -> GOOS=linux GOARCH=arm GOARM=7
cross     = GOOS=$(word 1,$(subst -, ,$(1))) \
            $(patsubst GOARCH=arm7,GOARCH=arm GOARM=7,GOARCH=$(word 2,$(subst -, ,$(1))))
# The race detector sees this process alone: e2e and bench drive separate programs.
RACE_PKGS ?= $(shell $(GO) list ./... | grep -vE '/(e2e|bench)(/|$$)')

.DEFAULT_GOAL := help
.PHONY: help build build-all run test test-deps race lint fmt vet-cross bench fuzz crash powercut clean

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

lint: ## Check format, vet, modern Go, staticcheck and the module files
	@bad=$$($(TOOL) gofumpt -l .); if [ -n "$$bad" ]; then \
		printf 'not formatted, run "make fmt":\n%s\n' "$$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags bench ./...
	$(GO) fix -diff ./...
	$(TOOL) staticcheck ./...
	$(GO) mod tidy -diff
	cd shared/devtools && $(GO) mod tidy -diff

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

clean: ## Remove what make built (run/ with its data stays)
	rm -rf bin dist
