#ifndef OPENMM_RARE_WALKERBONDFORCEIMPL_H_
#define OPENMM_RARE_WALKERBONDFORCEIMPL_H_

#include "WalkerBondForce.h"
#include "openmm/Kernel.h"
#include "openmm/internal/ForceImpl.h"
#include <map>
#include <string>
#include <vector>

namespace OpenMMRare {

/** Connects a WalkerBondForce with the kernel of the Context's Platform. */
class WalkerBondForceImpl : public OpenMM::ForceImpl {
public:
    WalkerBondForceImpl(const WalkerBondForce& owner);
    void initialize(OpenMM::ContextImpl& context);
    const WalkerBondForce& getOwner() const { return owner; }
    void updateContextState(OpenMM::ContextImpl& context, bool& forcesInvalid) {}
    double calcForcesAndEnergy(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy, int groups);
    std::map<std::string, double> getDefaultParameters();
    std::vector<std::string> getKernelNames();
private:
    const WalkerBondForce& owner;
    OpenMM::Kernel kernel;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_WALKERBONDFORCEIMPL_H_*/
