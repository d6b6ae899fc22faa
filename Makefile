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

# What is compared is built where its packages are; a folder that was configured before they came must look again.
bench:
	@packaging/install-deps.sh bench || echo "ferry: what is missing is not compared" >&2
	@if [ -f $(BUILD)/build.ninja ] && [ ! -f $(BUILD)/bench-peers/iceoryx.so ]; then \
		meson configure $(BUILD) --clearcache && meson setup $(BUILD) --reconfigure >/dev/null; \
	fi
	@$(MAKE) --no-print-directory build
	@mkdir -p $(BUILD)/bench
	@failed=0; \
	$(BUILD)/ferry bench all || failed=$$?; \
	$(BUILD)/ferry bench peers --json >$(BUILD)/bench/peers.json || failed=$$?; \
	bench-peers/plot.py $(BUILD)/bench/peers.json $(BUILD)/bench && \
	echo "The comparison with others is drawn in:" $(BUILD)/bench/*.svg && exit $$failed

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
	@echo "make bench            the figures, beside the limits of this machine and beside others; some eight minutes"
	@echo "make test             all tests, also under AddressSanitizer and ThreadSanitizer"
	@echo "make install          into PREFIX=$(PREFIX), below DESTDIR if set"
	@echo "make format           clang-format over all sources"
	@echo "make clean            removes what was built"
