#ifndef OPENMM_RARE_NORMALBLOCKS_H_
#define OPENMM_RARE_NORMALBLOCKS_H_

namespace OpenMMRare {

/** Normal random numbers that are made at a time, and what makes the next ones. */
struct NormalBlock {
    /** Generators that run side by side, and pairs that each of them makes. */
    static constexpr int Streams = 8, Pairs = 8, Size = 2*Streams*Pairs;
    /** Four words of each generator. */
    unsigned long long state[4][Streams];
    double values[Size];
};

/** The code for one instruction set. */
struct NormalVariant {
    /** Replace the numbers by the next ones. */
    void (*fill)(NormalBlock& block);
};

extern const NormalVariant normalVariant_baseline, normalVariant_avx2, normalVariant_avx512;

} // namespace OpenMMRare

#endif /*OPENMM_RARE_NORMALBLOCKS_H_*/
