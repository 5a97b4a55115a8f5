// Energies and forces of a WalkerBondForce, with walkers in the lanes of vectors.  This file is compiled for several instruction
// sets: see InstructionSets.h.
#include "BondInstructions.h"
#include "InstructionSets.h"
#include "ListedBonds.h"

namespace {

/** Positions by particle and axis; lanes without a walker get those of the last one. */
void load(const Block& block, const double* positions, int count) {
    const int length = 3*block.plan.numParticles;
    double* out = (double*) block.row(block.plan.positions);
    for (int lane = 0; lane < WalkerBondPlan::Lanes; lane++) {
        const double* position = positions+length*(lane < count ? lane : count-1);
        for (int k = 0; k < length; k++)
            out[k*WalkerBondPlan::Lanes+lane] = position[k];
    }
}

/** Add the forces to those of the walkers. */
void store(const Block& block, double* forces, int count) {
    const int length = 3*block.plan.numParticles;
    const double* in = (const double*) block.row(block.plan.forces);
    for (int lane = 0; lane < count; lane++)
        for (int k = 0; k < length; k++)
            forces[length*lane+k] += in[k*WalkerBondPlan::Lanes+lane];
}

/** Distances of two particles, row 0. */
void computeDistance(const Block& block, const Vector* a, const Vector* b) {
    Vector* r = block.row(0);
    for (int v = 0; v < Length; v++) {
        const Vector dx = a[v]-b[v], dy = a[Length+v]-b[Length+v], dz = a[2*Length+v]-b[2*Length+v];
        r[v] = squareRoot(dx*dx+dy*dy+dz*dz);
    }
}

/** Whether a bond acts in none of the walkers. */
bool isBeyond(const Block& block, double cutoff) {
    const double* r = (const double*) block.row(0);
    bool beyond = true;
    for (int lane = 0; lane < WalkerBondPlan::Lanes; lane++)
        beyond &= r[lane] >= cutoff;
    return beyond;
}

/** Numbers where a bond acts, else 0. */
template <bool HasCutoff> inline Vector within(Vector r, double cutoff, Vector numbers) {
    return HasCutoff && r >= cutoff ? Vector{} : numbers;
}

/** Add the forces along the line between two particles to those on them; at distance 0 there is none, as in OpenMM. */
template <bool HasCutoff> void addForces(const Block& block, const Vector* a, const Vector* b, Vector* forceOnA, Vector* forceOnB) {
    const Vector *r = block.row(0), *slope = block.row(block.plan.slope);
    for (int v = 0; v < Length; v++) {
        const Vector factor = within<HasCutoff>(r[v], block.plan.cutoff, r[v] == 0.0 ? Vector{} : slope[v]/r[v]);
        for (int axis = 0; axis < 3; axis++) {
            const int k = axis*Length+v;
            const Vector force = factor*(a[k]-b[k]);
            forceOnA[k] -= force;
            forceOnB[k] += force;
        }
    }
}

template <bool HasCutoff>
void evaluateBlock(const WalkerBondPlan& plan, const double* positions, int count, double* work, double* forces, double* energies) {
    const Block block = {plan, (Vector*) work};
    Vector *x = block.row(plan.positions), *f = block.row(plan.forces), sums[Length] = {};
    const int numInstructions = energies == 0 ? plan.numForSlope : plan.numForEnergy;
    load(block, positions, count);
    for (int k = 0; k < 3*plan.numParticles*Length; k++)
        f[k] = Vector{};
    for (int bond = 0; bond < plan.numBonds; bond++) {
        const int i = 3*Length*plan.particles[2*bond], j = 3*Length*plan.particles[2*bond+1];
        const SameNumbers numbers = {plan.numbers+plan.sets[bond]*plan.numNumbers};
        computeDistance(block, x+i, x+j);
        if (HasCutoff && isBeyond(block, plan.cutoff))
            continue;
        for (int k = 0; k < numInstructions; k++)
            execute(block, plan.instructions[k], numbers, block.row(k+1));
        if (energies != 0)
            for (int v = 0; v < Length; v++)
                sums[v] += within<HasCutoff>(block.row(0)[v], plan.cutoff, block.row(plan.energy)[v]);
        if (forces != 0)
            addForces<HasCutoff>(block, x+i, x+j, f+i, f+j);
    }
    if (forces != 0)
        store(block, forces, count);
    if (energies != 0)
        for (int lane = 0; lane < count; lane++)
            energies[lane] = ((double*) sums)[lane];
}

void evaluate(const WalkerBondPlan& plan, const double* positions, int count, double* work, double* forces, double* energies) {
    if (plan.cutoff < __builtin_inf())
        evaluateBlock<true>(plan, positions, count, work, forces, energies);
    else
        evaluateBlock<false>(plan, positions, count, work, forces, energies);
}

} // namespace

const OpenMMRare::WalkerBondVariant OpenMMRare::RARE_VARIANT(walkerBondVariant) = {evaluate, evaluateListed, listBonds};
