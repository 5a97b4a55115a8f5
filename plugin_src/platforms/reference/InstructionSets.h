// Some files are compiled once for each of several instruction sets, RARE_SIMD being the name of one.  An inline function or
// template that the variants shared would be kept once by the linker, perhaps in the variant that this machine cannot run; so
// they include nothing but headers of plain data and parts of themselves, all of it in unnamed namespaces, and each defines one
// constant, RARE_VARIANT(name), that holds its functions.
#ifndef OPENMM_RARE_INSTRUCTIONSETS_H_
#define OPENMM_RARE_INSTRUCTIONSETS_H_

namespace OpenMMRare {

/**
 * The fastest instruction set that this machine runs, as an index into RARE_VARIANTS.  The environment variable
 * OPENMM_RARE_SIMD may name a slower one.
 */
int getInstructionSet();

} // namespace OpenMMRare

#define RARE_STRING_(name) #name
#define RARE_STRING(name) RARE_STRING_(name)
#define RARE_JOIN_(first, second) first##_##second
#define RARE_JOIN(first, second) RARE_JOIN_(first, second)
#define RARE_VARIANT(name) RARE_JOIN(name, RARE_SIMD)

/** Pointers to the variants of a constant, the slowest first. */
#ifdef RARE_HAVE_X86_VARIANTS
    #define RARE_VARIANTS(name) {&name##_baseline, &name##_avx2, &name##_avx512}
#else
    #define RARE_VARIANTS(name) {&name##_baseline}
#endif

#endif /*OPENMM_RARE_INSTRUCTIONSETS_H_*/
