// Part of files that are compiled for several instruction sets (see InstructionSets.h): vectors of numbers in double precision,
// and functions of them.
#ifndef OPENMM_RARE_DOUBLEVECTORS_H_
#define OPENMM_RARE_DOUBLEVECTORS_H_

namespace {

/** Numbers in a register. */
#if defined(__AVX512F__)
const int Width = 8;
#elif defined(__AVX2__)
const int Width = 4;
#else
const int Width = 2;
#endif
/** A register of numbers, and of integers of the same size. */
typedef double Vector __attribute__((vector_size(8*Width), may_alias));
typedef unsigned long long Bits __attribute__((vector_size(8*Width), may_alias));

inline Vector all(double x) {
    return x-Vector{};
}

/** A function of each number. */
template <class Function> inline Vector each(Vector x, Function function) {
    Vector result;
    for (int lane = 0; lane < Width; lane++)
        result[lane] = function(x[lane]);
    return result;
}

inline Vector squareRoot(Vector x) {
    return each(x, [](double value) { return __builtin_sqrt(value); });
}

} // namespace

#endif /*OPENMM_RARE_DOUBLEVECTORS_H_*/
