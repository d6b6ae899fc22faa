# SPDX-License-Identifier: MIT
# A small front for Meson, so that nobody needs to know it. `make help` lists the targets.

BUILD := build
PREFIX ?= /usr/local
CC ?= cc

# clang 14 needs another linker for this; gcc does not.
LTO := $(if $(findstring clang,$(shell $(CC) --version 2>/dev/null)),false,true)

.PHONY: build install demo bench test format clean help deps configure

build: configure
	@meson compile -C $(BUILD)

deps:
	@packaging/install-deps.sh build

configure: deps
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) -Db_lto=$(LTO) -Dtests=false --prefix $(abspath $(PREFIX))

install: build
	@meson configure $(BUILD) --prefix $(abspath $(PREFIX))
	meson install -C $(BUILD)
	@if [ "$$(id -u)" = 0 ] && [ -z "$(DESTDIR)" ]; then ldconfig; fi

demo: build
	@examples/demo/run.sh

bench: build
	@$(BUILD)/ferry bench all

test:
	@packaging/install-deps.sh test
	@tests/run.sh

format:
	@git ls-files --cached --others --exclude-standard '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan

help:
	@echo "make build            the library and the tool: $(BUILD)/libferry.so, $(BUILD)/ferry"
	@echo "make demo             a real job with threads, processes and machines, compared with coreutils"
	@echo "make bench            the figures, beside the limits of this machine"
	@echo "make test             all tests, also under AddressSanitizer and ThreadSanitizer"
	@echo "make install          into PREFIX=$(PREFIX), below DESTDIR if set"
	@echo "make format           clang-format over all sources"
	@echo "make clean            removes what was built"
