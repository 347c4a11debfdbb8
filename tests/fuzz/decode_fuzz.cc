// libFuzzer harness over find_frame and every decoder; corpus in tests/fuzz/corpus/decode.
//
//   clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined -Iinclude -Isrc -Itests
//       tests/fuzz/decode_fuzz.cc src/mqtt/*.cc src/base/{assert,utf8}.cc -o decode_fuzz
//   ./decode_fuzz -max_len=512 /tmp/new tests/fuzz/corpus/decode

#include "fuzz/decode_all.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    mqttd::fuzz::decode_all({data, size});
    return 0;
}
