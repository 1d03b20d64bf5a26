/*
 * fault.c - the mutant that a test's environment chooses. See fault.h. */
#include "base/fault.h"

#include "base/util.h"

#include <unistd.h>

#ifdef ENG_MUTANTS
enum mutant fault_mutant;
_Atomic uint64_t fault_hashed_locked;
static _Thread_local bool in_mutation;

void fault_mutation(bool held)
{
    in_mutation = held;
}

void fault_hashes(uint32_t bytes)
{
    if (in_mutation)
        atomic_fetch_add_explicit(&fault_hashed_locked, bytes, memory_order_relaxed);
}

/* A test of any kind is run without a protection by its environment. */
static __attribute__((constructor)) void choose_mutant(void)
{
#define MUTANT_NAME(name) #name,
    static const char *const names[] = {MUTANT_LIST(MUTANT_NAME)};
#undef MUTANT_NAME
    const char *wanted = getenv("ENG_MUTANT");
    for (size_t i = 0; wanted && i < ARRAY_LEN(names); i++)
        if (!strcmp(names[i], wanted))
            fault_mutant = (enum mutant)(i + 1);
    if (wanted && !fault_mutant)
        _exit(MUTANT_UNKNOWN); /* a name that is not there must look like no test that passes or fails */
}
#endif
