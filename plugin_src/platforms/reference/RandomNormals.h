#ifndef OPENMM_RARE_RANDOMNORMALS_H_
#define OPENMM_RARE_RANDOMNORMALS_H_

#include "NormalBlocks.h"
#include <cstdint>

namespace OpenMMRare {

/** Normal random numbers, the same from a seed on every machine: plain memory without gaps, which a checkpoint holds. */
class RandomNormals {
public:
    explicit RandomNormals(uint64_t seed=0);
    double operator()() {
        if (next == NormalBlock::Size)
            refill();
        return block.values[next++];
    }
    /** Whether the next number is one of the block, or the first of the next one: memory that was read may say something else. */
    bool isWithinBlock() const { return next <= NormalBlock::Size; }
private:
    void refill();
    NormalBlock block;
    /** Index of the next number in the block. */
    uint64_t next;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_RANDOMNORMALS_H_*/
