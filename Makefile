# mqttd: one Makefile for everything.  `make help` lists the targets.
#
# Layout of the build folder: build/<flavour>/, where the flavour is the compiler and the sanitizers:
#
#   build/g++/src/...       the product's objects            -> build/g++/mqttd -> ./mqttd (stripped)
#                           and those of src/tools/bench_*   -> build/g++/mqttbench -> ./mqttbench
#                           and those of src/tools/check_*   -> build/g++/mqttcheck -> ./mqttcheck
#   build/g++/checked/...   the same sources with MQTTD_DCHECK on, for the unit tests
#   build/g++/tests/...     the tests' objects               -> build/g++/unit_tests
#   build/g++/bench/...     one benchmark program per tests/bench/*_bench.cc
#   build/catch/            Catch2's main, compiled once per compiler, never sanitized (it is slow)
#
# A flavour keeps its own folder, so switching between them rebuilds nothing:
#
#   make CXX=clang++                        make unit SANITIZE=address,undefined
#   make WERROR=1 objects                   make BUILD=/tmp/elsewhere
#
# Sources are found by wildcard: a new file in a room, or a new room, needs no line here.

.DEFAULT_GOAL := all
.SUFFIXES:
.DELETE_ON_ERROR:
SHELL := /bin/bash

# All cores, unless the caller (or a make above this one) says otherwise.
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc 2>/dev/null || echo 1)
endif

# ---- What may be set on the command line -------------------------------------------------------
ifeq ($(origin CXX),default)
CXX := g++
endif
SANITIZE ?=
WERROR   ?=
MUTANTS  ?=
BUILD    ?= build
PREFIX   ?= /usr/local
DESTDIR  ?=
PYTHON   ?= /usr/bin/python3
V        ?=

comma := ,
B     := $(BUILD)/$(notdir $(CXX))$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))$(if $(WERROR),-werror)$(if $(MUTANTS),-mutants)
Q     := $(if $(V),,@)
say    = $(if $(V),,@printf '  %-6s %s\n' $(1) $(2))

# ---- Sources -----------------------------------------------------------------------------------
MAIN         := src/server/main.cc
SOURCES      := $(sort $(filter-out src/tools/%,$(wildcard src/*/*.cc)))
UNIT_SOURCES := $(sort $(wildcard $(addsuffix /*_test.cc, tests/unit tests/unit/* \
                    tests/conformance tests/conformance/* tests/wire tests/wire/*)))
SUPPORT      := $(sort $(filter-out tests/support/catch_main.cc,$(wildcard tests/support/*.cc)))
SIM_SOURCES  := $(sort $(wildcard tests/sim/*.cc))
BENCHES      := $(sort $(wildcard tests/bench/*_bench.cc))
PATHS        := $(sort $(wildcard tests/bench/paths/*.cc))
MILLION      := $(sort $(wildcard tests/bench/million/*.cc))
ENGINE       := $(sort $(wildcard tests/bench/engine/*.cc)) tests/support/packets.cc \
                tests/support/packets5.cc
TOOL_SOURCES := $(sort $(wildcard src/tools/*.cc))

PRODUCT_OBJECTS := $(SOURCES:%.cc=$B/%.o)
TOOL_OBJECTS    := $(TOOL_SOURCES:%.cc=$B/%.o)
CHECKED_OBJECTS := $(patsubst %.cc,$B/checked/%.o,\
                       $(filter-out $(MAIN) %_main.cc,$(SOURCES) $(TOOL_SOURCES)))
TEST_OBJECTS    := $(patsubst %.cc,$B/%.o,$(UNIT_SOURCES) $(SUPPORT))
CATCH_OBJECT    := $(BUILD)/catch/$(notdir $(CXX)).o
# Worlds with a journal (tests/sim/README.md).
DURABLE_SEEDS   := 1000000001 1000000101
# Broker, net and scribe as they are; the simulator brings its own Sockets and Disk.
SIM_OBJECTS     := $(SIM_SOURCES:%.cc=$B/%.o) $B/tests/support/mutant.o \
                   $B/tests/support/alloc_guard.o $B/tests/support/fake_disk.o \
                   $(foreach room,base mqtt topics broker net io store,$(patsubst %.cc,\
                       $B/checked/%.o,$(filter-out src/io/sockets_%,$(wildcard src/$(room)/*.cc))))
CRASH_OBJECTS   := $B/tests/crash/main.o $B/tests/support/journal_world.o \
                   $B/tests/support/fake_disk.o $(foreach room,base mqtt io store,\
                       $(patsubst %.cc,$B/checked/%.o,$(filter-out src/store/import% \
                           src/store/scribe_%,$(wildcard src/$(room)/*.cc))))
BENCH_OBJECTS   := $(BENCHES:%.cc=$B/%.o)
BENCH_PROGRAMS  := $(BENCHES:tests/bench/%.cc=$B/bench/%)
# What is measured: core and net as they are in the product, on sockets that cost nothing.  Theirs
# come first, so that an inline function that is in both is the product's.
ENGINE_OBJECTS  := $(foreach room,base mqtt topics broker net,\
                       $(patsubst %.cc,$B/%.o,$(wildcard src/$(room)/*.cc))) \
                   $(ENGINE:%.cc=$B/bench/%.o)
PATHS_OBJECTS   := $(PATHS:%.cc=$B/bench/%.o)
MILLION_OBJECTS := $(MILLION:%.cc=$B/bench/%.o)
MEASURING_OBJECTS := $(ENGINE:%.cc=$B/bench/%.o) $(PATHS_OBJECTS) $(MILLION_OBJECTS)
OBJECTS         := $(PRODUCT_OBJECTS) $(TOOL_OBJECTS) $(CHECKED_OBJECTS) $(TEST_OBJECTS) \
                   $(BENCH_OBJECTS) $(SIM_SOURCES:%.cc=$B/%.o) $B/tests/crash/main.o \
                   $(MEASURING_OBJECTS)

# ---- Flags -------------------------------------------------------------------------------------
WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion $(if $(WERROR),-Werror)
OPTIMIZE := $(if $(SANITIZE),-O1 -g -fno-omit-frame-pointer,-O2)
# vptr needs type information, which the product does without.
SANITIZER := $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize=vptr -fno-sanitize-recover=all)
# Deliberate faults, to be switched on one by one: base/mutant.h.
MUTATED  := $(if $(MUTANTS),-DMQTTD_MUTANTS=1)
HARDEN   := -fstack-protector-strong $(if $(SANITIZE),,-D_FORTIFY_SOURCE=2)

BASE_FLAGS    = -std=c++20 $(WARNINGS) $(OPTIMIZE) $(SANITIZER) $(HARDEN) $(MUTATED) -fPIE -Iinclude -Isrc
PRODUCT_FLAGS = $(BASE_FLAGS) -fno-exceptions -fno-rtti -ffunction-sections -fdata-sections \
                $(CXXFLAGS)
CHECKED_FLAGS = $(PRODUCT_FLAGS) -DMQTTD_DCHECKS=1 -D_GLIBCXX_ASSERTIONS
# Test code is not what is measured: -O1 compiles faster.
TEST_FLAGS    = $(BASE_FLAGS) -O1 -Itests -DMQTTD_DCHECKS=1 -D_GLIBCXX_ASSERTIONS $(CXXFLAGS)
BENCH_FLAGS   = $(BASE_FLAGS) -Itests $(CXXFLAGS)

# Static, unless sanitized: the sanitizers' runtimes are shared.
PRODUCT_LINK = $(if $(SANITIZE),$(SANITIZER) -pie,-static-pie) \
               -Wl,--gc-sections -Wl,-z,relro -Wl,-z,now $(LDFLAGS)
TEST_LINK    = $(SANITIZER) -pie $(LDFLAGS)

# ---- What a fresh machine lacks ----------------------------------------------------------------
# Goals meant for a fresh machine first install what they need; plain `make` installs nothing.
NEEDS := $(sort $(patsubst unit,test,$(patsubst e2e,test,\
             $(filter run test unit sanitized e2e check bench instructions lint warnings,\
                 $(MAKECMDGOALS)))))
.PHONY: deps
deps:
	@scripts/deps $(NEEDS)
DEPS := $(if $(NEEDS),deps)
run test unit sanitized e2e bench instructions lint warnings: | $(DEPS)

# ---- The product -------------------------------------------------------------------------------
.PHONY: all run objects
PROGRAMS := mqttd mqttbench mqttcheck
BUILT    := $(if $(SANITIZE),$(PROGRAMS:%=$B/%),$(PROGRAMS))
all: $(BUILT) ## build ./mqttd, ./mqttbench and ./mqttcheck (sanitized ones stay in build/<flavour>/)

# ./mqttd is the flavour asked for last.  It is replaced, not overwritten: the old one may be running.
.PHONY: $(PROGRAMS)
$(PROGRAMS): %: $B/%
	@strip -o $<.stripped $<
	@cmp -s $<.stripped $@ || { cp $<.stripped $@.new && mv -f $@.new $@; }

$B/mqttd: $(PRODUCT_OBJECTS)
	$(call say,LINK,$@)
	$Q$(CXX) $(PRODUCT_FLAGS) -o $@ $(PRODUCT_OBJECTS) $(PRODUCT_LINK)

# The load generator shares no code with the broker it measures.
$B/mqttbench: $(filter $B/src/tools/bench_%,$(TOOL_OBJECTS))
	$(call say,LINK,$@)
	$Q$(CXX) $(PRODUCT_FLAGS) -o $@ $^ $(PRODUCT_LINK)

# The journal's reader shares its code with the broker; what it makes of what it reads is its own.
CHECK_OBJECTS := $(filter $B/src/tools/check_%,$(TOOL_OBJECTS)) $B/src/broker/durable_records.o \
                 $(foreach room,base mqtt topics io store,\
                       $(patsubst %.cc,$B/%.o,$(wildcard src/$(room)/*.cc)))

$B/mqttcheck: $(CHECK_OBJECTS)
	$(call say,LINK,$@)
	$Q$(CXX) $(PRODUCT_FLAGS) -o $@ $(CHECK_OBJECTS) $(PRODUCT_LINK)

objects: $(OBJECTS) ## compile everything, link nothing

run: all ## install what is missing, build, serve in the foreground on port 1883
	$Q$(if $(SANITIZE),$B/mqttd,./mqttd) -c conf/mqttd.conf

# ---- Tests -------------------------------------------------------------------------------------
.PHONY: test unit sanitized e2e check bench instructions growth million measure bench-compare fuzz \
        sim sim-hunt sim-mutants sim-speed crash compaction start
RUN_TESTS = MQTTD_BIN='$(abspath $(firstword $(BUILT)))' \
            MQTTBENCH_BIN='$(abspath $(word 2,$(BUILT)))' \
            MQTTCHECK_BIN='$(abspath $(word 3,$(BUILT)))' $(PYTHON) scripts/run_tests

test: all $B/unit_tests $B/sim ## install what is missing, build, run every test
	$Q$(RUN_TESTS) --unit $B/unit_tests --sim $B/sim --e2e tests/e2e

unit: $B/unit_tests ## unit, conformance and wire tests only (CASE='name or [tag]' picks some)
	$Q$(if $(CASE),$B/unit_tests '$(CASE)',$(RUN_TESTS) --unit $B/unit_tests)

e2e: all ## end-to-end tests only, against the real binary (CASE=file picks one)
	$Q$(RUN_TESTS) --e2e $(if $(CASE),tests/e2e/$(basename $(notdir $(CASE))).py,tests/e2e)

$B/unit_tests: $(CHECKED_OBJECTS) $(TEST_OBJECTS) $(CATCH_OBJECT)
	$(call say,LINK,$@)
	$Q$(CXX) -o $@ $^ $(TEST_LINK)

sim: $B/sim ## play simulated worlds (SEED=n: that one, step by step; SEEDS='a b': from a to below b)
	$Q$B/sim $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1 401))
	$(if $(SEED)$(SEEDS),,$Q$B/sim --seeds $(DURABLE_SEEDS))

sim-hunt: $B/sim ## play new worlds for MINUTES (10) on all cores; failing seeds go to build/sim-failures
	$Q$B/sim --minutes $(or $(MINUTES),10) --keep $(BUILD)/sim-failures

sim-mutants: ## show which test catches each of the deliberate faults (MUTANT=n: one)
	$Qscripts/sim_mutants $(MUTANT)

sim-speed: $B/sim ## simulated messages a second
	$Q$B/sim --speed

$B/sim: $(SIM_OBJECTS)
	$(call say,LINK,$@)
	$Q$(CXX) -o $@ $^ $(TEST_LINK)

crash: $B/crash $B/unit_tests $B/sim all ## power cuts on a lying disk (CUTS=100000, SEED=1), lives (LIVES=20000), simulated worlds (WORLDS=3000), kills of the real broker (KILLS=1000)
	$Q$B/crash $(or $(CUTS),100000) $(SEED)
	$QMQTTD_LIVES=$(or $(LIVES),20000) $B/unit_tests '[lives]'
	$Q$B/sim --seeds 1000100001 $$((1000100001 + $(or $(WORLDS),3000)))
	$QMQTTD_BIN='$(abspath mqttd)' $(PYTHON) tests/crash/kills.py $(or $(KILLS),1000) $(or $(SEED),1)
	$QMQTTD_BIN='$(abspath mqttd)' MQTTCHECK_BIN='$(abspath mqttcheck)' \
	    $(PYTHON) tests/crash/kills.py $(or $(KILLS),1000) $(or $(SEED),1) pages

compaction: all ## what a round over MEGABYTES=2048 of state costs those who are served meanwhile
	$Q$(PYTHON) tests/crash/compaction.py $(or $(MEGABYTES),2048)

start: all ## how long a start on a large journal takes until the first CONNACK (STARTS=5)
	$Q$(PYTHON) tests/crash/start.py $(or $(STARTS),5)

$B/crash: $(CRASH_OBJECTS)
	$(call say,LINK,$@)
	$Q$(CXX) -o $@ $^ $(TEST_LINK)

# One after the other: tests that look at the clock do not share the cores with compilers.
check: | $(DEPS) ## everything that must hold before a commit
	+$Qfor goal in lint warnings test; do $(MAKE) --no-print-directory $$goal || exit 1; done

bench: $(BENCH_PROGRAMS) ## build and run the micro-benchmarks, two minutes (BENCH=regex picks some)
	$Qset -e; for program in $(BENCH_PROGRAMS); do \
	    $$program --benchmark_min_time=$(or $(SECONDS),0.2) $(if $(BENCH),--benchmark_filter='$(BENCH)'); done

$B/bench/%: $(ENGINE_OBJECTS) $B/tests/bench/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(CXX) -o $@ $^ $(TEST_LINK) -lbenchmark -lbenchmark_main -lpthread

# The figures in the file are those of the default flavour.
instructions: $B/bench/paths ## instructions per message on the hot paths, against the kept ones (UPDATE=1: keep these)
	$QCXX='$(CXX)' $(PYTHON) scripts/instructions $(if $(UPDATE),--update) $(if $(ALL),--all) $<

growth: $B/bench/paths ## how instructions per delivery grow with receivers, bystanders, filters
	$Q$(PYTHON) scripts/instructions --show $< $$($< --growth)

million: $B/bench/million ## a million clients: bytes, ticks, publishes, the end (COUNT=1: instructions, too)
	$Q$<
	$(if $(COUNT),$Q$(PYTHON) scripts/instructions --show $<)

# Linked as the product is, so that a call costs what it costs there.
$B/bench/million: $(ENGINE_OBJECTS) $(MILLION_OBJECTS)
	$(call say,LINK,$@)
	$Q$(CXX) -o $@ $^ $(PRODUCT_LINK)

$B/bench/paths: $(ENGINE_OBJECTS) $(PATHS_OBJECTS)
	$(call say,LINK,$@)
	$Q$(CXX) -o $@ $^ $(PRODUCT_LINK)

measure: all ## the figures the engine must show, in a network namespace of its own (FIGURES='a c')
	$QMQTTD_BIN='$(abspath mqttd)' $(PYTHON) scripts/measure/run $(FIGURES)

# Every run in a network namespace of its own, the brokers' runs interleaved.
bench-compare: all ## ./mqttd beside mosquitto, OTHER='path args {port}' and a relay (CASES='A D', QUICK=1)
	$QMQTTD_BIN='$(abspath mqttd)' MQTTBENCH_BIN='$(abspath mqttbench)' OTHER='$(OTHER)' \
	    QUICK='$(QUICK)' $(PYTHON) scripts/bench_compare/run $(CASES)

# libFuzzer, with clang; what is new goes to build/fuzz/<harness>.
HARNESS          ?= decode
CORPUS            = $(if $(filter mosquitto_db,$(HARNESS)),tests/unit/store/fixtures,tests/fuzz/corpus/$(HARNESS))
FUZZED_BYTES_MAX  = $(if $(filter mosquitto_db,$(HARNESS)),4096,512)
fuzz: ## fuzz a parser (HARNESS=decode, mosquitto_db) for SECONDS (60), starting from its corpus
	$Qmkdir -p $(BUILD)/fuzz/$(HARNESS)
	$Qclang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -Isrc -Itests \
	    tests/fuzz/$(HARNESS)_fuzz.cc $(wildcard src/mqtt/*.cc) src/store/mosquitto_*.cc \
	    src/base/assert.cc src/base/utf8.cc -o $(BUILD)/fuzz/$(HARNESS)_fuzz
	$Q$(BUILD)/fuzz/$(HARNESS)_fuzz -max_len=$(FUZZED_BYTES_MAX) \
	    -max_total_time=$(or $(SECONDS),60) $(BUILD)/fuzz/$(HARNESS) $(CORPUS)

# ---- Care --------------------------------------------------------------------------------------
.PHONY: format lint compiled warnings compile_commands install clean help
CARED_FOR = $(shell find $(wildcard include src tests) -name '*.h' -o -name '*.cc')

format: ## lay the source out as .clang-format says
	$Qclang-format -i $(CARED_FOR)

lint: ## rooms, headers, system calls, the table of the standards' statements, layout
	@clang-format --version | grep -q 'version 14\.' || echo 'note: .clang-format is meant for version 14'
	$Qstatus=0; \
	scripts/check_rooms || status=1; \
	CXX='$(CXX)' scripts/check_headers || status=1; \
	scripts/check_syscalls || status=1; \
	scripts/spec_coverage --self-test && scripts/spec_coverage || status=1; \
	clang-format --dry-run -Werror $(CARED_FOR) || status=1; \
	exit $$status

compiled: $B/unit_tests $B/sim $B/crash $(BENCH_OBJECTS) $(MEASURING_OBJECTS) ## what `sanitized` runs, of this flavour

sanitized: compiled ## unit tests and 150 worlds (SEEDS='a b') under SANITIZE
	$Q$(RUN_TESTS) --unit $B/unit_tests
	$Q$B/sim --seeds $(or $(SEEDS),1 151)
	$(if $(SEEDS),,$Q$B/sim --seeds 1000000001 1000000041)

warnings: ## compile everything with g++ and clang++, warnings as errors
	+$QBUILD='$(BUILD)' scripts/check_warnings

compile_commands: ## write compile_commands.json for editors and clang tools
	$QCXX='$(CXX)' scripts/compile_commands '$(strip $(PRODUCT_FLAGS))' $(SOURCES) $(TOOL_SOURCES) \
	    -- '$(strip $(TEST_FLAGS))' $(UNIT_SOURCES) $(SUPPORT) $(BENCHES) $(ENGINE) $(PATHS) \
	    $(MILLION) > compile_commands.json

install: all ## install the binaries and the configuration under $(DESTDIR)$(PREFIX)
	install -d $(addprefix '$(DESTDIR)$(PREFIX)'/,sbin bin etc/mqttd)
	install -m 755 $(firstword $(BUILT)) '$(DESTDIR)$(PREFIX)/sbin/mqttd'
	install -m 755 $(word 2,$(BUILT)) '$(DESTDIR)$(PREFIX)/bin/mqttbench'
	install -m 755 $(word 3,$(BUILT)) '$(DESTDIR)$(PREFIX)/bin/mqttcheck'
	@# An edited configuration is somebody's work: the new default goes beside it.
	@conf='$(DESTDIR)$(PREFIX)/etc/mqttd/mqttd.conf'; \
	if [ -e "$$conf" ] && ! cmp -s conf/mqttd.conf "$$conf"; then conf="$$conf.new"; fi; \
	echo "install -m 644 conf/mqttd.conf $$conf"; install -m 644 conf/mqttd.conf "$$conf"

clean: ## remove the programs and the build folder
	rm -rf $(BUILD) $(PROGRAMS) compile_commands.json

help: ## list the targets
	@sed -nE 's/^([a-z0-9_-]+):.*## (.*)/  \1\t\2/p' Makefile | expand -t 22
	@echo; echo '  flavours: CXX=clang++  SANITIZE=address,undefined  WERROR=1; V=1 shows the commands'

# ---- How a file is compiled ---------------------------------------------------------------------
# Objects depend on the flags they were compiled with.
FLAGS_STAMP := $B/flags
$(FLAGS_STAMP): always
	@mkdir -p $(@D)
	@printf '%s\n' '$(CXX) $(PRODUCT_FLAGS) / $(TEST_FLAGS)' | cmp -s - $@ || \
	    printf '%s\n' '$(CXX) $(PRODUCT_FLAGS) / $(TEST_FLAGS)' > $@
.PHONY: always
always:

define compile # (flags)
	@mkdir -p $(@D)
	$(call say,CXX,$(@:$(BUILD)/%=%))
	$Q$(CXX) $(1) -MMD -MP -c -o $@ $<
endef

$B/src/%.o: src/%.cc $(FLAGS_STAMP) | $(DEPS)
	$(call compile,$(PRODUCT_FLAGS))

$B/checked/src/%.o: src/%.cc $(FLAGS_STAMP) | $(DEPS)
	$(call compile,$(CHECKED_FLAGS))

$B/tests/bench/%.o: tests/bench/%.cc $(FLAGS_STAMP) | $(DEPS)
	$(call compile,$(BENCH_FLAGS))

$B/bench/%.o: %.cc $(FLAGS_STAMP) | $(DEPS)
	$(call compile,$(BENCH_FLAGS))

# Whole days are played: as fast as the product.
$B/tests/sim/%.o: tests/sim/%.cc $(FLAGS_STAMP) | $(DEPS)
	$(call compile,$(TEST_FLAGS) -O2)

$B/tests/%.o: tests/%.cc $(FLAGS_STAMP) | $(DEPS)
	$(call compile,$(TEST_FLAGS))

# At -O1 under a sanitizer this one file takes a minute and a half; so it is never sanitized.
$(CATCH_OBJECT): tests/support/catch_main.cc | $(DEPS)
	@mkdir -p $(@D)
	$(call say,CXX,$(@:$(BUILD)/%=%))
	$Q$(CXX) -std=c++20 -O0 -fPIE -MMD -MP -c -o $@ $<

-include $(OBJECTS:.o=.d) $(CATCH_OBJECT:.o=.d)
