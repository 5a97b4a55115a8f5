// Normal random numbers: xoshiro256+ and the method of Box and Muller, with generators in the lanes of vectors.  This file is
// compiled for several instruction sets (see InstructionSets.h), without fused operations, so that all of them give the same
// numbers.
#include "DoubleVectors.h"
#include "InstructionSets.h"
#include "NormalBlocks.h"

namespace {

using OpenMMRare::NormalBlock;

/** Memory that need not be aligned. */
typedef double LooseVector __attribute__((vector_size(8*Width), aligned(8), may_alias));
typedef unsigned long long LooseBits __attribute__((vector_size(8*Width), aligned(8), may_alias));

/** xoshiro256+. */
struct Generators {
    Bits a, b, c, d;

    /** From 1 up to 2. */
    Vector operator()() {
        const Bits result = a+d, shifted = b << 17;
        c ^= a;
        d ^= b;
        b ^= c;
        a ^= d;
        c ^= shifted;
        d = (d << 45) | (d >> 19);
        return (Vector) ((result >> 12) | 0x3ff0000000000000ULL);
    }
};

/** ln x for 0 < x <= 1, as in fdlibm. */
Vector logarithm(Vector x) {
    const unsigned long long rootHalf = 0x3fe6a09e667f3bcdULL; // the number without its power of 2 is from here on
    const Bits bits = (Bits) x-rootHalf+0x4000000000000000ULL; // the exponent is positive
    const Vector k = (Vector) ((bits >> 52) | 0x4330000000000000ULL)-(0x1p52+0x400);
    const Vector f = (Vector) ((bits & 0xfffffffffffffULL)+rootHalf)-1.0;
    const Vector s = f/(2.0+f), z = s*s, w = z*z, half = 0.5*f*f;
    const Vector even = w*(3.999999999940941908e-01+w*(2.222219843214978396e-01+w*1.531383769920937332e-01));
    const Vector odd = z*(6.666666666666735130e-01+w*(2.857142874366239149e-01
            +w*(1.818357216161805012e-01+w*1.479819860511658591e-01)));
    return k*6.93147180369123816490e-01-((half-(s*(half+(even+odd))+k*1.90821492927058770002e-10))-f);
}

/** sin x and cos x for |x| <= pi/4, as in fdlibm. */
void sineAndCosine(Vector x, Vector& sine, Vector& cosine) {
    const Vector z = x*x;
    sine = x+x*z*(-1.66666666666666324348e-01+z*(8.33333333332248946124e-03+z*(-1.98412698298579493134e-04
            +z*(2.75573137070700676789e-06+z*(-2.50507602534068634195e-08+z*1.58969099521155010221e-10)))));
    cosine = 1.0-(0.5*z-z*z*(4.16666666666666019037e-02+z*(-1.38888888888741095749e-03+z*(2.48015872894767294178e-05
            +z*(-2.75573143513906633035e-07+z*(2.08757232129817482790e-09-z*1.13596475577881948265e-11))))));
}

/** A pair of normal numbers in each lane. */
void makePair(Generators& uniform, Vector& first, Vector& second) {
    const double round = 0x1.8p52; // the last bit of the sum counts as 1
    const Vector radius = squareRoot(-2.0*logarithm(2.0-uniform())), turn = 4.0*(uniform()-1.0), shifted = turn+round;
    const Bits quarter = (Bits) shifted;
    Vector sine, cosine;
    sineAndCosine((turn-(shifted-round))*1.57079632679489661923, sine, cosine);
    const Vector along = (Vector) ((Bits) radius ^ (quarter & 2) << 62); // the bits of the quarter turn the point
    const Bits swap = -(quarter & 1);
    const Bits difference = ((Bits) sine ^ (Bits) cosine) & swap;
    first = along*(Vector) ((Bits) cosine ^ difference);
    second = along*(Vector) ((Bits) sine ^ difference);
}

void fill(NormalBlock& block) {
    for (int stream = 0; stream < NormalBlock::Streams; stream += Width) {
        auto word = [&](int k) -> LooseBits& { return *(LooseBits*) &block.state[k][stream]; };
        Generators uniform = {word(0), word(1), word(2), word(3)};
        for (int pair = 0; pair < NormalBlock::Pairs; pair++) {
            Vector first, second;
            makePair(uniform, first, second);
            double* out = block.values+2*pair*NormalBlock::Streams+stream;
            *(LooseVector*) out = first;
            *(LooseVector*) (out+NormalBlock::Streams) = second;
        }
        word(0) = uniform.a;
        word(1) = uniform.b;
        word(2) = uniform.c;
        word(3) = uniform.d;
    }
}

} // namespace

const OpenMMRare::NormalVariant OpenMMRare::RARE_VARIANT(normalVariant) = {fill};
