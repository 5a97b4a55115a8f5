// Energies and forces of a WalkerBondForce, with walkers in the lanes of vectors.  This file is compiled for several instruction
// sets: see InstructionSets.h.
#include "DoubleVectors.h"
#include "InstructionSets.h"
#include "WalkerBonds.h"

namespace {

using OpenMMRare::WalkerBondPlan;

/** Vectors in a row. */
const int Length = WalkerBondPlan::Lanes/Width;

/** The rows of the work space. */
struct Block {
    const WalkerBondPlan& plan;
    Vector* work;

    Vector* row(int index) const {
        return work+index*Length;
    }
};

/** Compute each vector of a row. */
template <class Function> inline void fill(Vector* out, Function function) {
    for (int v = 0; v < Length; v++)
        out[v] = function(v);
}

/** Compute one number after the other. */
template <class Function> inline void fillLanes(Vector* out, Function function) {
    for (int lane = 0; lane < WalkerBondPlan::Lanes; lane++)
        ((double*) out)[lane] = function(lane);
}

inline void execute(const Block& block, const WalkerBondPlan::Instruction& step, const double* numbers, Vector* out) {
    const Vector *a = block.row(step.a), *b = block.row(step.b), *c = block.row(step.c);
    const double u = numbers[step.number], *x = (const double*) a, *y = (const double*) b;
    switch (step.operation) {
        case WalkerBondPlan::Fill: fill(out, [=](int) { return all(u); }); break;
        case WalkerBondPlan::Add: fill(out, [=](int v) { return a[v]+b[v]; }); break;
        case WalkerBondPlan::AddNumber: fill(out, [=](int v) { return a[v]+u; }); break;
        case WalkerBondPlan::Subtract: fill(out, [=](int v) { return a[v]-b[v]; }); break;
        case WalkerBondPlan::SubtractFromNumber: fill(out, [=](int v) { return u-a[v]; }); break;
        case WalkerBondPlan::Multiply: fill(out, [=](int v) { return a[v]*b[v]; }); break;
        case WalkerBondPlan::MultiplyByNumber: fill(out, [=](int v) { return a[v]*u; }); break;
        case WalkerBondPlan::Divide: fill(out, [=](int v) { return a[v]/b[v]; }); break;
        case WalkerBondPlan::DivideNumber: fill(out, [=](int v) { return u/a[v]; }); break;
        case WalkerBondPlan::SquareRoot: fill(out, [=](int v) { return squareRoot(a[v]); }); break;
        case WalkerBondPlan::Absolute: fill(out, [=](int v) { return a[v] < 0.0 ? -a[v] : a[v]; }); break;
        case WalkerBondPlan::Step: fill(out, [=](int v) { return a[v] >= 0.0 ? all(1) : all(0); }); break;
        case WalkerBondPlan::Delta: fill(out, [=](int v) { return a[v] == 0.0 ? all(1) : all(0); }); break;
        case WalkerBondPlan::Min: fill(out, [=](int v) { return b[v] < a[v] ? b[v] : a[v]; }); break;
        case WalkerBondPlan::Max: fill(out, [=](int v) { return a[v] < b[v] ? b[v] : a[v]; }); break;
        case WalkerBondPlan::Select: fill(out, [=](int v) { return a[v] == 0.0 ? c[v] : b[v]; }); break;
        case WalkerBondPlan::CallOne: fillLanes(out, [=](int lane) { return step.ofOne(x[lane]); }); break;
        case WalkerBondPlan::CallTwo: fillLanes(out, [=](int lane) { return step.ofTwo(x[lane], y[lane]); }); break;
    }
}

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

/** Add the forces along the line between two particles to those on them; at distance 0 there is none, as in OpenMM. */
void addForces(const Block& block, const Vector* a, const Vector* b, Vector* forceOnA, Vector* forceOnB) {
    const Vector *r = block.row(0), *slope = block.row(block.plan.slope);
    for (int v = 0; v < Length; v++) {
        const Vector factor = r[v] == 0.0 ? Vector{} : slope[v]/r[v];
        for (int axis = 0; axis < 3; axis++) {
            const int k = axis*Length+v;
            const Vector force = factor*(a[k]-b[k]);
            forceOnA[k] -= force;
            forceOnB[k] += force;
        }
    }
}

void evaluate(const WalkerBondPlan& plan, const double* positions, int count, double* work, double* forces, double* energies) {
    const Block block = {plan, (Vector*) work};
    Vector *x = block.row(plan.positions), *f = block.row(plan.forces), sums[Length] = {};
    const int numInstructions = energies == 0 ? plan.numForSlope : plan.numForEnergy;
    load(block, positions, count);
    for (int k = 0; k < 3*plan.numParticles*Length; k++)
        f[k] = Vector{};
    for (int bond = 0; bond < plan.numBonds; bond++) {
        const int i = 3*Length*plan.particles[2*bond], j = 3*Length*plan.particles[2*bond+1];
        computeDistance(block, x+i, x+j);
        for (int k = 0; k < numInstructions; k++)
            execute(block, plan.instructions[k], plan.numbers+bond*plan.numNumbers, block.row(k+1));
        if (energies != 0)
            for (int v = 0; v < Length; v++)
                sums[v] += block.row(plan.energy)[v];
        if (forces != 0)
            addForces(block, x+i, x+j, f+i, f+j);
    }
    if (forces != 0)
        store(block, forces, count);
    if (energies != 0)
        for (int lane = 0; lane < count; lane++)
            energies[lane] = ((double*) sums)[lane];
}

} // namespace

const OpenMMRare::WalkerBondVariant OpenMMRare::RARE_VARIANT(walkerBondVariant) = {evaluate};
