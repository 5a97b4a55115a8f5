// Part of WalkerBonds.cpp: the bonds of one walker that a list names, with bonds in the lanes of vectors.
#ifndef OPENMM_RARE_LISTEDBONDS_H_
#define OPENMM_RARE_LISTEDBONDS_H_

#include "BondInstructions.h"

namespace {

/** Three coordinates and a 0. */
typedef double Quad __attribute__((vector_size(32), may_alias));

/** Positions of one walker. */
void loadWalker(const Block& block, const double* positions) {
    Quad* out = (Quad*) block.row(block.plan.positions);
    for (int i = 0; i < block.plan.numParticles; i++)
        out[i] = Quad{positions[3*i], positions[3*i+1], positions[3*i+2], 0.0};
}

/** Vectors between the particles of bonds, and squared distances in row 0. */
void computeSquares(const Block& block, const int* particles) {
    const WalkerBondPlan& plan = block.plan;
    const Quad* x = (const Quad*) block.row(plan.positions);
    Quad* differences = (Quad*) block.row(plan.differences);
    for (int lane = 0; lane < WalkerBondPlan::Lanes; lane++)
        differences[lane] = x[particles[2*lane]]-x[particles[2*lane+1]];
    const double* d = (const double*) differences;
    double* square = (double*) block.row(0);
    for (int lane = 0; lane < WalkerBondPlan::Lanes; lane++)
        square[lane] = d[4*lane]*d[4*lane]+d[4*lane+1]*d[4*lane+1]+d[4*lane+2]*d[4*lane+2];
}

/** The numbers of bonds, unless all have the same. */
void loadNumbers(const Block& block, const int* sets) {
    const WalkerBondPlan& plan = block.plan;
    double* out = (double*) block.row(plan.numbersOfBonds);
    for (int lane = 0; lane < WalkerBondPlan::Lanes; lane++) {
        const double* numbers = plan.numbers+sets[lane]*plan.numNumbers;
        for (int k = 0; k < plan.numNumbers; k++)
            out[k*WalkerBondPlan::Lanes+lane] = numbers[k];
    }
}

/** Whatever the bonds make of their distances in row 0. */
void executeAll(const Block& block, const int* sets, int numInstructions) {
    const WalkerBondPlan& plan = block.plan;
    if (plan.numSets == 1) {
        for (int k = 0; k < numInstructions; k++)
            execute(block, plan.instructions[k], SameNumbers{plan.numbers}, block.row(k+1));
        return;
    }
    loadNumbers(block, sets);
    const RowsOfNumbers numbers = {block.row(plan.numbersOfBonds)};
    for (int k = 0; k < numInstructions; k++)
        execute(block, plan.instructions[k], numbers, block.row(k+1));
}

/** Add the forces of bonds one after the other, so that it does not matter in which lanes they are. */
void addForcesOfBonds(const Block& block, const int* particles, int count) {
    const WalkerBondPlan& plan = block.plan;
    const Vector *r = block.row(0), *slope = block.row(plan.slope);
    Vector factors[Length];
    for (int v = 0; v < Length; v++) {
        const Vector factor = r[v] == 0.0 ? Vector{} : slope[v]/r[v];
        factors[v] = r[v] >= plan.cutoff ? Vector{} : factor;
    }
    const Quad* differences = (const Quad*) block.row(plan.differences);
    Quad* f = (Quad*) block.row(plan.forces);
    int first = particles[0];
    Quad onFirst = f[first]; // mostly the same for many bonds on end
    for (int lane = 0; lane < count; lane++, particles += 2) {
        const Quad force = ((const double*) factors)[lane]*differences[lane];
        if (particles[0] != first) {
            f[first] = onFirst;
            first = particles[0];
            onFirst = f[first];
        }
        onFirst -= force;
        f[particles[1]] += force;
    }
    f[first] = onFirst;
}

void evaluateListed(const WalkerBondPlan& plan, const double* positions, const int* particles, const int* sets, int numListed,
                    double* work, double* forces, double* energy) {
    const Block block = {plan, (Vector*) work};
    Quad* f = (Quad*) block.row(plan.forces);
    const int numInstructions = energy == 0 ? plan.numForSlope : plan.numForEnergy;
    double sum = 0;
    loadWalker(block, positions);
    for (int i = 0; i < plan.numParticles; i++)
        f[i] = Quad{};
    for (int first = 0; first < numListed; first += WalkerBondPlan::Lanes) {
        const int count = numListed-first < WalkerBondPlan::Lanes ? numListed-first : WalkerBondPlan::Lanes;
        computeSquares(block, particles+2*first);
        fill(block.row(0), [&](int v) { return squareRoot(block.row(0)[v]); });
        executeAll(block, sets+first, numInstructions);
        if (energy != 0)
            for (int lane = 0; lane < count; lane++)
                sum += ((const double*) block.row(0))[lane] >= plan.cutoff ? 0.0 : ((const double*) block.row(plan.energy))[lane];
        if (forces != 0)
            addForcesOfBonds(block, particles+2*first, count);
    }
    if (forces != 0)
        for (int i = 0; i < plan.numParticles; i++)
            for (int axis = 0; axis < 3; axis++)
                forces[3*i+axis] += f[i][axis];
    if (energy != 0)
        *energy = sum;
}

int listBonds(const WalkerBondPlan& plan, const double* positions, double distance, double* work, int* bonds) {
    const Block block = {plan, (Vector*) work};
    const double most = distance*distance, *square = (const double*) block.row(0);
    int listed = 0;
    loadWalker(block, positions);
    for (int first = 0; first < plan.numBonds; first += WalkerBondPlan::Lanes) {
        const int count = plan.numBonds-first < WalkerBondPlan::Lanes ? plan.numBonds-first : WalkerBondPlan::Lanes;
        computeSquares(block, plan.particles+2*first);
        for (int lane = 0; lane < count; lane++) {
            bonds[listed] = first+lane;
            listed += !(square[lane] > most); // a distance that is not a number stays, for its force to show
        }
    }
    return listed;
}

} // namespace

#endif /*OPENMM_RARE_LISTEDBONDS_H_*/
