#include "WalkerBondForce.h"
#include "WalkerBondForceImpl.h"
#include "openmm/OpenMMException.h"
#include <algorithm>
#include <string>
#include <vector>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

static void check(bool holds, const string& complaint) {
    if (!holds)
        throw OpenMMException("WalkerBondForce: "+complaint);
}

WalkerBondForce::WalkerBondForce(const CustomBondForce& bonds, int numWalkers, double cutoff) : bonds(bonds), numWalkers(numWalkers),
        cutoff(cutoff) {
    check(numWalkers >= 1, "there must be at least one walker, not "+to_string(numWalkers));
    check(cutoff > 0, "the cutoff must be positive, not "+to_string(cutoff));
    check(bonds.getNumBonds() > 0, "there are no bonds");
    check(!bonds.usesPeriodicBoundaryConditions(), "periodic boundaries are not supported: use OpenMM's CustomBondForce");
    check(bonds.getNumEnergyParameterDerivatives() == 0, "derivatives of the energy with respect to parameters are not "
          "supported: use OpenMM's CustomBondForce");
    const int numParameters = bonds.getNumPerBondParameters();
    for (int i = 0; i < bonds.getNumBonds(); i++) {
        int first, second;
        vector<double> parameters;
        bonds.getBondParameters(i, first, second, parameters);
        check(first >= 0 && second >= 0, "bond "+to_string(i)+" is of particle "+to_string(min(first, second))
              +", which does not exist");
        check((int) parameters.size() == numParameters, "bond "+to_string(i)+" has "+to_string(parameters.size())
              +" parameters, but a bond needs "+to_string(numParameters));
    }
    setName(bonds.getName());
    setForceGroup(bonds.getForceGroup());
}

ForceImpl* WalkerBondForce::createImpl() const {
    return new WalkerBondForceImpl(*this);
}
