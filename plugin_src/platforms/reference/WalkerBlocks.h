#ifndef OPENMM_RARE_WALKERBLOCKS_H_
#define OPENMM_RARE_WALKERBLOCKS_H_

#include "openmm/internal/ThreadPool.h"
#include "openmm/reference/ReferencePlatform.h"
#include <algorithm>

namespace OpenMMRare {

/** 64 bytes of a work space, so that it is aligned. */
template <class T> struct alignas(64) WorkLine {
    static constexpr int Length = 64/sizeof(T);
    T values[Length];
};

/** Threads for the blocks of walkers that are computed at a time.  A Reference platform keeps to one core, as OpenMM does. */
inline int countThreads(const OpenMM::Platform& platform, OpenMM::ReferencePlatform::PlatformData& data) {
    return platform.getName() == "Reference" ? 1 : std::max(1, data.threads.getNumThreads());
}

/** Call evaluate(first, last, thread) for ranges of blocks, on as many threads as are worth waking. */
template <class Function> void forBlocks(int numBlocks, int maxThreads, OpenMM::ThreadPool& pool, Function evaluate) {
    const int blocksPerThread = 8; // at least
    const int numThreads = std::max(1, std::min(maxThreads, numBlocks/blocksPerThread));
    if (numThreads == 1) {
        evaluate(0, numBlocks, 0);
        return;
    }
    auto start = [=](int thread) { return (int) ((long long) numBlocks*thread/numThreads); };
    pool.execute([&](OpenMM::ThreadPool&, int thread) {
        if (thread < numThreads)
            evaluate(start(thread), start(thread+1), thread);
    });
    pool.waitForThreads();
}

} // namespace OpenMMRare

#endif /*OPENMM_RARE_WALKERBLOCKS_H_*/
