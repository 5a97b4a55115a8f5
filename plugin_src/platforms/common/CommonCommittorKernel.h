#ifndef OPENMM_RARE_COMMONCOMMITTORKERNEL_H_
#define OPENMM_RARE_COMMONCOMMITTORKERNEL_H_

#include "AtomOrder.h"
#include "RareKernels.h"
#include "openmm/common/ComputeArray.h"
#include "openmm/common/ComputeContext.h"
#include <map>

namespace OpenMMRare {

/** Energy and forces of a CommittorForce, on the platforms OpenCL, CUDA and HIP; in single precision like the network. */
class CommonCalcCommittorForceKernel : public CalcCommittorForceKernel {
public:
    CommonCalcCommittorForceKernel(std::string name, const OpenMM::Platform& platform, OpenMM::ComputeContext& cc) :
            CalcCommittorForceKernel(name, platform), cc(cc) {}
    void initialize(const OpenMM::System& system, const CommittorForce& force);
    double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy);
    void copyParametersToContext(OpenMM::ContextImpl& context, const CommittorForce& force);
private:
    void addFeatures(const CommittorForce& force, std::map<std::string, std::string>& defines);
    void addRows(const CommittorForce& force, std::map<std::string, std::string>& defines);
    void addNetwork(const CommittorForce& force, std::map<std::string, std::string>& defines);
    void createKernels(const CommittorForce& force, const std::map<std::string, std::string>& defines);
    OpenMM::ComputeContext& cc;
    AtomOrder order;
    int numWalkers, numParticles, numRadii, numFeatures, numSorted, blockSize, numBlocks;
    OpenMM::ComputeArray parts, numbers, columns, inLogit, widths, weights, transposed, biases, slopes, values, work, sorted;
    OpenMM::ComputeKernel featureKernel, networkKernel, logitKernel, forceKernel;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_COMMONCOMMITTORKERNEL_H_*/
