// Part of CommittorNetwork.cpp: vectors of numbers of many walkers, and functions of them.
#ifndef OPENMM_RARE_COMMITTORVECTORS_H_
#define OPENMM_RARE_COMMITTORVECTORS_H_

#include "CommittorNetwork.h"

namespace {

using OpenMMRare::CommittorPlan;

/** Floats in a register, and registers that hold sums in the products of weights and inputs: about half of what there is. */
#if defined(__AVX512F__)
const int Width = 16, NumSums = 16;
#elif defined(__AVX2__)
const int Width = 8, NumSums = 8;
#else
const int Width = 4, NumSums = 8;
#endif
/** A register of floats, and of integers of the same size. */
typedef float Vector __attribute__((vector_size(4*Width), may_alias));
typedef int Mask __attribute__((vector_size(4*Width), may_alias));
typedef unsigned int Bits __attribute__((vector_size(4*Width), may_alias));

inline Vector all(float x) {
    return x-Vector{};
}

/** e^x, accurate to about 1 unit in the last place; far out it stays at a finite, positive value. */
inline Vector exponential(Vector x) {
    x = x > 88.0f ? all(88.0f) : x;
    x = x < -87.0f ? all(-87.0f) : x;
    const float round = 12582912.0f; // its last bit counts as 1
    Vector shifted = x*1.44269504f+round, k = shifted-round;
    Vector f = (x-k*0.693359375f)+k*2.12194440e-4f; // x-k ln 2
    Vector p = 1.38434661e-3f*f+8.37431673e-3f; // e^f for |f| <= ln 2/2
    p = p*f+4.16680128e-2f;
    p = p*f+1.66664294e-1f;
    p = p*f+4.99999941e-1f;
    p = p*f+1.00000003f;
    p = p*f+1.0f;
    Bits power = ((Bits) shifted << 23)+0x3f800000u; // 2^k
    return p*(Vector) power;
}

/** ln x of a positive, normal number. */
inline Vector logarithm(Vector x) {
    Bits bits = (Bits) x-0x3f3504f3u; // of sqrt(1/2): the rest is between that and sqrt(2)
    Vector k = __builtin_convertvector((Mask) bits >> 23, Vector);
    Vector f = (Vector) ((bits & 0x7fffffu)+0x3f3504f3u)-1.0f;
    Vector square = f*f;
    Vector p = 7.0376836292e-2f*f-1.1514610310e-1f;
    p = p*f+1.1676998740e-1f;
    p = p*f-1.2420140846e-1f;
    p = p*f+1.4249322787e-1f;
    p = p*f-1.6668057665e-1f;
    p = p*f+2.0000714765e-1f;
    p = p*f-2.4999993993e-1f;
    p = p*f+3.3333331174e-1f;
    return ((p*f)*square+(k*-2.12194440e-4f-0.5f*square))+f+k*0.693359375f;
}

inline Vector squareRoot(Vector x) {
    Vector result;
    for (int lane = 0; lane < Width; lane++)
        result[lane] = __builtin_sqrtf(x[lane]);
    return result;
}

/** The rows of the work space for a block of walkers, N vectors each. */
template <int N> struct Block {
    const CommittorPlan& plan;
    Vector* work;

    Vector* row(int index) const {
        return work+index*N;
    }
};

} // namespace

#endif /*OPENMM_RARE_COMMITTORVECTORS_H_*/
