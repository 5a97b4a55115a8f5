#include "WalkerBondForceImpl.h"
#include "RareKernels.h"
#include "openmm/OpenMMException.h"
#include "openmm/System.h"
#include "openmm/internal/ContextImpl.h"
#include <algorithm>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

static void check(bool holds, const string& complaint) {
    if (!holds)
        throw OpenMMException("WalkerBondForce: "+complaint);
}

WalkerBondForceImpl::WalkerBondForceImpl(const WalkerBondForce& owner) : owner(owner) {
    forceGroup = owner.getForceGroup();
}

void WalkerBondForceImpl::initialize(ContextImpl& context) {
    const int total = context.getSystem().getNumParticles(), numWalkers = owner.getNumWalkers(), numParticles = total/numWalkers;
    const CustomBondForce& bonds = owner.getBonds();
    check(total%numWalkers == 0, to_string(numWalkers)+" walkers do not divide the "+to_string(total)+" particles of the System");
    for (int i = 0; i < bonds.getNumBonds(); i++) {
        int first, second;
        vector<double> parameters;
        bonds.getBondParameters(i, first, second, parameters);
        check(max(first, second) < numParticles, "bond "+to_string(i)+" refers to particle "+to_string(max(first, second))
              +"; a walker has "+to_string(numParticles));
    }
    kernel = context.getPlatform().createKernel(CalcWalkerBondForceKernel::Name(), context);
    kernel.getAs<CalcWalkerBondForceKernel>().initialize(context.getSystem(), owner);
}

double WalkerBondForceImpl::calcForcesAndEnergy(ContextImpl& context, bool includeForces, bool includeEnergy, int groups) {
    if ((groups & (1<<forceGroup)) == 0)
        return 0.0;
    return kernel.getAs<CalcWalkerBondForceKernel>().execute(context, includeForces, includeEnergy);
}

map<string, double> WalkerBondForceImpl::getDefaultParameters() {
    const CustomBondForce& bonds = owner.getBonds();
    map<string, double> parameters;
    for (int i = 0; i < bonds.getNumGlobalParameters(); i++)
        parameters[bonds.getGlobalParameterName(i)] = bonds.getGlobalParameterDefaultValue(i);
    return parameters;
}

vector<string> WalkerBondForceImpl::getKernelNames() {
    return {CalcWalkerBondForceKernel::Name()};
}
