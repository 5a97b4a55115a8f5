#ifndef OPENMM_RARE_REFERENCEWALKERBONDKERNEL_H_
#define OPENMM_RARE_REFERENCEWALKERBONDKERNEL_H_

#include "BondLists.h"
#include "RareKernels.h"
#include "WalkerBlocks.h"
#include "WalkerBondPlanner.h"
#include <memory>

namespace OpenMMRare {

/** Energy and forces of a WalkerBondForce, on the platforms Reference and CPU. */
class ReferenceCalcWalkerBondForceKernel : public CalcWalkerBondForceKernel {
public:
    ReferenceCalcWalkerBondForceKernel(std::string name, const OpenMM::Platform& platform,
            OpenMM::ReferencePlatform::PlatformData& data) : CalcWalkerBondForceKernel(name, platform), data(data) {}
    void initialize(const OpenMM::System& system, const WalkerBondForce& force);
    double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy);
private:
    typedef WorkLine<double> Line;
    void followParameters(OpenMM::ContextImpl& context);
    void evaluateBlocks(int first, int last, std::vector<Line>& work, bool includeForces, bool includeEnergy);
    OpenMM::ReferencePlatform::PlatformData& data;
    const WalkerBondVariant* variant;
    std::unique_ptr<WalkerBondPlanner> planner;
    /** Of the bonds within the cutoff, where they are worthwhile. */
    std::unique_ptr<BondLists> lists;
    int numWalkers;
    /** The global parameters and the values that the planner has. */
    std::map<std::string, double> parameters;
    /** By walker. */
    std::vector<double> energies;
    /** By thread. */
    std::vector<std::vector<Line> > work;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_REFERENCEWALKERBONDKERNEL_H_*/
