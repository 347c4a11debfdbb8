#pragma once

// MQTTD_MUTANT(n): a deliberate fault that shows whether the tests would notice it.
//
//     if (expired && !MQTTD_MUTANT(…)) {  // what the fault is, in a few words
//
// In every normal build it is the constant false and leaves nothing in the binary. A build with
// MUTANTS=1 has them all, and the environment variable MQTTD_MUTANT chooses the one that is on.
// scripts/sim_mutants switches on one after the other and shows which test catches it; it takes the
// comment at the end of the line for the description. Numbers are never used again.

#if defined(MQTTD_MUTANTS) && MQTTD_MUTANTS

namespace mqttd {

int chosen_mutant();  // tests/support/mutant.cc

}  // namespace mqttd

#define MQTTD_MUTANT(n) (::mqttd::chosen_mutant() == (n))
#else
#define MQTTD_MUTANT(n) false
#endif
