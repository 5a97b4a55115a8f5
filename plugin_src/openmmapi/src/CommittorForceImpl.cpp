#include "CommittorForceImpl.h"
#include "RareKernels.h"
#include "openmm/OpenMMException.h"
#include "openmm/System.h"
#include "openmm/internal/ContextImpl.h"

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

typedef CommittorForce::Feature Feature;

static void check(bool holds, const string& complaint) {
    if (!holds)
        throw OpenMMException("CommittorForce: "+complaint);
}

/** Refuse a force that does not fit walkers of n particles. */
static void checkFeatures(const CommittorForce& force, int n) {
    int numFeatures = 0;
    for (auto& feature : force.getFeatures()) {
        check(feature.kind == Feature::Coordinates || n >= 2, "features of pairs need walkers of at least 2 particles");
        for (int column : feature.columns)
            check(column < 3*n, "the coordinate "+to_string(column)+" does not exist: walkers of "+to_string(n)
                  +" particles have "+to_string(3*n));
        numFeatures += feature.size(n);
    }
    check(numFeatures > 0, "there are no features");
    check(!force.getWidths().empty(), "there is no network: call setNetwork()");
    check(force.getWidths()[0] == numFeatures, "the network takes "+to_string(force.getWidths()[0])+" inputs, but there are "
          +to_string(numFeatures)+" features");
    for (int index : force.getInLogit())
        check(index < numFeatures, "the feature "+to_string(index)+" of the logit does not exist: there are "
              +to_string(numFeatures));
}

CommittorForceImpl::CommittorForceImpl(const CommittorForce& owner) : owner(owner) {
    forceGroup = owner.getForceGroup();
}

void CommittorForceImpl::initialize(ContextImpl& context) {
    const int numParticles = context.getSystem().getNumParticles(), numWalkers = owner.getNumWalkers();
    check(numParticles%numWalkers == 0, to_string(numWalkers)+" walkers do not divide the "+to_string(numParticles)
          +" particles of the System");
    checkFeatures(owner, numParticles/numWalkers);
    widths = owner.getWidths();
    kernel = context.getPlatform().createKernel(CalcCommittorForceKernel::Name(), context);
    kernel.getAs<CalcCommittorForceKernel>().initialize(context.getSystem(), owner);
}

double CommittorForceImpl::calcForcesAndEnergy(ContextImpl& context, bool includeForces, bool includeEnergy, int groups) {
    if ((groups & (1<<forceGroup)) == 0)
        return 0.0;
    return kernel.getAs<CalcCommittorForceKernel>().execute(context, includeForces, includeEnergy);
}

vector<string> CommittorForceImpl::getKernelNames() {
    return {CalcCommittorForceKernel::Name()};
}

void CommittorForceImpl::updateParametersInContext(ContextImpl& context) {
    check(owner.getWidths() == widths, "the widths of the network cannot change in a Context: make a new one");
    kernel.getAs<CalcCommittorForceKernel>().copyParametersToContext(context, owner);
    context.systemChanged();
}
