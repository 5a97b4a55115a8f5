#include "ReferenceCommittorKernel.h"
#include "openmm/Vec3.h"
#include <algorithm>
#include <cmath>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

static_assert(sizeof(Vec3) == 3*sizeof(double), "positions are read as an array of numbers");

void ReferenceCalcCommittorForceKernel::initialize(const System& system, const CommittorForce& force) {
    numWalkers = force.getNumWalkers();
    numParticles = system.getNumParticles()/numWalkers;
    scale = force.getScale();
    variant = &getCommittorVariant();
    planner = make_unique<CommittorPlanner>(force, numParticles);
    logits.resize(numWalkers);
    work.resize(countThreads(getPlatform(), data));
}

void ReferenceCalcCommittorForceKernel::copyParametersToContext(ContextImpl& context, const CommittorForce& force) {
    planner->setParameters(force.getParameters());
}

void ReferenceCalcCommittorForceKernel::evaluateBlocks(int first, int last, vector<Line>& work, bool includeForces) {
    const int size = variant->blockSize;
    work.resize(((size_t) planner->getPlan().numRows*size+Line::Length-1)/Line::Length);
    const double* positions = &(*data.positions)[0][0];
    double* forces = &(*data.forces)[0][0];
    for (int block = first; block < last; block++) {
        const int walker = block*size;
        const size_t offset = (size_t) 3*numParticles*walker;
        variant->evaluate(planner->getPlan(), positions+offset, min(size, numWalkers-walker), work[0].values, &logits[walker],
                includeForces ? forces+offset : nullptr, -scale);
    }
}

double ReferenceCalcCommittorForceKernel::execute(ContextImpl& context, bool includeForces, bool includeEnergy) {
    const int numBlocks = (numWalkers+variant->blockSize-1)/variant->blockSize;
    forBlocks(numBlocks, work.size(), data.threads, [&](int first, int last, int thread) {
        evaluateBlocks(first, last, work[thread], includeForces);
    });
    if (!includeEnergy)
        return 0.0;
    double sum = 0; // in the order of the walkers, whichever thread evaluated them
    for (double q : logits)
        sum += min(q, 0.0)-log1p(exp(-fabs(q)));
    return scale*sum;
}
