#ifndef OPENMM_RARE_COMMITTORFORCEIMPL_H_
#define OPENMM_RARE_COMMITTORFORCEIMPL_H_

#include "CommittorForce.h"
#include "openmm/Kernel.h"
#include "openmm/internal/ForceImpl.h"
#include <map>
#include <string>
#include <vector>

namespace OpenMMRare {

/** Connects a CommittorForce with the kernel of the Context's Platform. */
class CommittorForceImpl : public OpenMM::ForceImpl {
public:
    CommittorForceImpl(const CommittorForce& owner);
    void initialize(OpenMM::ContextImpl& context);
    const CommittorForce& getOwner() const { return owner; }
    void updateContextState(OpenMM::ContextImpl& context, bool& forcesInvalid) {}
    double calcForcesAndEnergy(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy, int groups);
    std::map<std::string, double> getDefaultParameters() { return {}; }
    std::vector<std::string> getKernelNames();
    void updateParametersInContext(OpenMM::ContextImpl& context);
private:
    const CommittorForce& owner;
    /** Widths of the network that the kernel was made for. */
    std::vector<int> widths;
    OpenMM::Kernel kernel;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_COMMITTORFORCEIMPL_H_*/
