#include "ReferenceWalkerBondKernel.h"
#include "openmm/Vec3.h"
#include "openmm/internal/ContextImpl.h"
#include <numeric>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

static_assert(sizeof(Vec3) == 3*sizeof(double), "positions are read as an array of numbers");

void ReferenceCalcWalkerBondForceKernel::initialize(const System& system, const WalkerBondForce& force) {
    const CustomBondForce& bonds = force.getBonds();
    numWalkers = force.getNumWalkers();
    variant = &getWalkerBondVariant();
    planner = make_unique<WalkerBondPlanner>(bonds, system.getNumParticles()/numWalkers, force.getCutoff());
    if (BondLists::areWorthwhile(planner->getPlan()))
        lists = make_unique<BondLists>(planner->getPlan(), *variant, numWalkers);
    for (int i = 0; i < bonds.getNumGlobalParameters(); i++)
        parameters[bonds.getGlobalParameterName(i)] = bonds.getGlobalParameterDefaultValue(i);
    planner->setGlobalParameters(parameters);
    energies.resize(numWalkers);
    work.resize(countThreads(getPlatform(), data));
    for (auto& lines : work)
        lines.resize((size_t) planner->getPlan().numRows*WalkerBondPlan::Lanes/Line::Length);
}

void ReferenceCalcWalkerBondForceKernel::followParameters(ContextImpl& context) {
    bool changed = false;
    for (auto& parameter : parameters) {
        const double value = context.getParameter(parameter.first);
        changed |= value != parameter.second;
        parameter.second = value;
    }
    if (changed)
        planner->setGlobalParameters(parameters);
}

void ReferenceCalcWalkerBondForceKernel::evaluateBlocks(int first, int last, vector<Line>& work, bool includeForces,
        bool includeEnergy) {
    const WalkerBondPlan& plan = planner->getPlan();
    const double* positions = &(*data.positions)[0][0];
    double* forces = &(*data.forces)[0][0];
    const size_t length = (size_t) 3*plan.numParticles;
    auto forcesOf = [&](int walker) { return includeForces ? forces+length*walker : nullptr; };
    auto energiesOf = [&](int walker) { return includeEnergy ? &energies[walker] : nullptr; };
    for (int walker = first*WalkerBondPlan::Lanes; walker < last*WalkerBondPlan::Lanes && walker < numWalkers; ) {
        const int count = lists ? 1 : min(WalkerBondPlan::Lanes, numWalkers-walker);
        if (lists)
            lists->evaluate(walker, positions+length*walker, work[0].values, forcesOf(walker), energiesOf(walker));
        else
            variant->evaluate(plan, positions+length*walker, count, work[0].values, forcesOf(walker), energiesOf(walker));
        walker += count;
    }
}

double ReferenceCalcWalkerBondForceKernel::execute(ContextImpl& context, bool includeForces, bool includeEnergy) {
    followParameters(context);
    const int numBlocks = (numWalkers+WalkerBondPlan::Lanes-1)/WalkerBondPlan::Lanes;
    forBlocks(numBlocks, work.size(), data.threads, [&](int first, int last, int thread) {
        evaluateBlocks(first, last, work[thread], includeForces, includeEnergy);
    });
    return includeEnergy ? accumulate(energies.begin(), energies.end(), 0.0) : 0.0;
}
