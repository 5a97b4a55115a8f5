#ifndef OPENMM_RARE_REFERENCECOMMITTORKERNEL_H_
#define OPENMM_RARE_REFERENCECOMMITTORKERNEL_H_

#include "CommittorPlanner.h"
#include "RareKernels.h"
#include "WalkerBlocks.h"
#include <memory>
#include <vector>

namespace OpenMMRare {

/** Energy and forces of a CommittorForce, on the platforms Reference and CPU. */
class ReferenceCalcCommittorForceKernel : public CalcCommittorForceKernel {
public:
    ReferenceCalcCommittorForceKernel(std::string name, const OpenMM::Platform& platform,
            OpenMM::ReferencePlatform::PlatformData& data) : CalcCommittorForceKernel(name, platform), data(data) {}
    void initialize(const OpenMM::System& system, const CommittorForce& force);
    double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy);
    void copyParametersToContext(OpenMM::ContextImpl& context, const CommittorForce& force);
private:
    typedef WorkLine<float> Line;
    void evaluateBlocks(int first, int last, std::vector<Line>& work, bool includeForces);
    OpenMM::ReferencePlatform::PlatformData& data;
    const CommittorVariant* variant;
    std::unique_ptr<CommittorPlanner> planner;
    int numWalkers, numParticles;
    double scale;
    /** By walker. */
    std::vector<float> logits;
    /** By thread. */
    std::vector<std::vector<Line> > work;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_REFERENCECOMMITTORKERNEL_H_*/
