#ifndef OPENMM_RARE_RANDOMNORMALS_H_
#define OPENMM_RARE_RANDOMNORMALS_H_

#include <cmath>
#include <cstdint>

namespace OpenMMRare {

/** Normal random numbers: xoshiro256+ and the polar method. */
class RandomNormals {
public:
    explicit RandomNormals(uint64_t seed=0) : saved(0), hasSaved(false) {
        for (int i = 0; i < 4; i++) { // splitmix64
            seed += 0x9e3779b97f4a7c15ULL;
            uint64_t z = seed;
            z = (z^(z>>30))*0xbf58476d1ce4e5b9ULL;
            z = (z^(z>>27))*0x94d049bb133111ebULL;
            state[i] = z^(z>>31);
        }
    }
    double operator()() {
        if (hasSaved) {
            hasSaved = false;
            return saved;
        }
        double x, y, square;
        do {
            x = uniform();
            y = uniform();
            square = x*x+y*y;
        } while (square >= 1.0 || square == 0.0);
        double factor = std::sqrt(-2.0*std::log(square)/square);
        saved = y*factor;
        hasSaved = true;
        return x*factor;
    }
private:
    /** From -1 to 1. */
    double uniform() {
        uint64_t result = state[0]+state[3], shifted = state[1]<<17;
        state[2] ^= state[0];
        state[3] ^= state[1];
        state[1] ^= state[2];
        state[0] ^= state[3];
        state[2] ^= shifted;
        state[3] = (state[3]<<45) | (state[3]>>19);
        return (result>>11)*0x1.0p-52-1.0;
    }
    uint64_t state[4];
    double saved;
    bool hasSaved;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_RANDOMNORMALS_H_*/
