#include "RandomNormals.h"
#include "InstructionSets.h"

using namespace OpenMMRare;

RandomNormals::RandomNormals(uint64_t seed) : block(), next(NormalBlock::Size) {
    for (auto& words : block.state)
        for (auto& word : words) { // splitmix64
            seed += 0x9e3779b97f4a7c15ULL;
            uint64_t z = seed;
            z = (z^(z>>30))*0xbf58476d1ce4e5b9ULL;
            z = (z^(z>>27))*0x94d049bb133111ebULL;
            word = z^(z>>31);
        }
}

void RandomNormals::refill() {
    static const NormalVariant* const variants[] = RARE_VARIANTS(normalVariant);
    static const NormalVariant& variant = *variants[getInstructionSet()];
    variant.fill(block);
    next = 0;
}
