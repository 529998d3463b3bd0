# make help explains the targets.

GO      ?= go
GOTEST   = bash scripts/gotest.sh
# Packages whose tests race many goroutines against each other.
RACY     = ./cache ./decode ./encode ./pair ./store ./seal ./fs
FUZZTIME ?= 20s
PREFIX  ?= /usr/local

.PHONY: help build test test-long race fuzz bench lint install demo setup clean

help:        ## show this list
	@sed -n 's/^\([a-z-]*\): .*## /  \1\t/p' Makefile | expand -t 14

build:       ## build the program, one static binary: bin/excpfs
	CGO_ENABLED=0 $(GO) build -buildvcs=auto -trimpath -o bin/excpfs ./cmd/excpfs

setup:       ## install what the tests need: FUSE, Python with torch and safetensors, 7-Zip; nothing twice
	bash scripts/setup.sh

demo: build  ## show the main job on the small real chain of the repo: mount, copy, compress, read back
	bash scripts/demo.sh

test: setup build  ## run vet and all tests, then again with the race detector and on one processor; about 12 minutes
	$(GO) vet ./...
	$(GOTEST) -timeout 20m ./...
	$(GOTEST) -short -race -timeout 15m $(RACY)
	GOMAXPROCS=1 $(GOTEST) -short -count=1 -timeout 15m ./fs ./tests

test-long: setup build  ## also train on from reconstructed checkpoints and compare the loss; about 10 minutes more
	EXCPFS_LONG=1 $(GOTEST) -count=1 -timeout 60m ./tests

race:        ## run all tests with the race detector
	$(GOTEST) -race -timeout 40m ./...

fuzz:        ## run every fuzz target for FUZZTIME (20s)
	bash scripts/fuzz.sh $(FUZZTIME)

bench: setup build  ## print sizes and speeds next to zstd, xz, 7z and the host filesystem: docs/PERFORMANCE.md
	$(GO) run ./tests/bench

lint:        ## check formatting, vet, staticcheck, and known vulnerabilities of what is used
	bash scripts/lint.sh

install: build  ## install the program to PREFIX/bin (/usr/local) and, as root, the helper of mount(8)
	install -D -m 755 bin/excpfs $(DESTDIR)$(PREFIX)/bin/excpfs
	if [ "$$(id -u)" = 0 ] && [ -z "$(DESTDIR)" ]; then ln -sf $(PREFIX)/bin/excpfs /sbin/mount.excpfs; fi

clean:       ## remove what was built (the Python environment stays)
	rm -rf bin
