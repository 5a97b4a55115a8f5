#ifndef OPENMM_RARE_KERNELS_H_
#define OPENMM_RARE_KERNELS_H_

#include "BiasedOverdampedLangevinIntegrator.h"
#include "CommittorForce.h"
#include "WalkerBondForce.h"
#include "openmm/KernelImpl.h"
#include "openmm/OpenMMException.h"
#include "openmm/Platform.h"
#include "openmm/System.h"
#include <iosfwd>
#include <string>
#include <vector>

namespace OpenMMRare {

/** Moves the walkers of a BiasedOverdampedLangevinIntegrator. */
class IntegrateBiasedOverdampedLangevinStepKernel : public OpenMM::KernelImpl {
public:
    static std::string Name() { return "IntegrateBiasedOverdampedLangevinStep"; }
    IntegrateBiasedOverdampedLangevinStepKernel(std::string name, const OpenMM::Platform& platform) : OpenMM::KernelImpl(name, platform) {}
    virtual void initialize(const OpenMM::System& system, const BiasedOverdampedLangevinIntegrator& integrator) = 0;
    /** The Context holds the forces of the bias: make the shifts of the next steps of them. */
    virtual void setShifts(OpenMM::ContextImpl& context, const BiasedOverdampedLangevinIntegrator& integrator) = 0;
    /** The Context holds the physical forces: move the walkers, and look them up in the regions if told so. */
    virtual void execute(OpenMM::ContextImpl& context, const BiasedOverdampedLangevinIntegrator& integrator, bool biased, bool check) = 0;
    /** Number of walkers that still move. */
    virtual int getNumMoving() = 0;
    virtual void getLogWeights(std::vector<double>& values) = 0;
    virtual void setLogWeights(const std::vector<double>& values) = 0;
    virtual void getWalkerStates(std::vector<int>& values) = 0;
    virtual void setWalkerStates(const std::vector<int>& values) = 0;
    virtual void holdWalkers(const std::vector<int>& walkers) = 0;
    virtual void getWalkerSteps(std::vector<int>& values) = 0;
    virtual void getWalkerLabels(std::vector<int>& values) = 0;
    virtual void setWalkerLabels(const std::vector<int>& values) = 0;
    virtual void resample(OpenMM::ContextImpl& context, const std::vector<int>& parents) = 0;
    virtual void watchWalkers(const std::vector<int>& regions) {
        throw OpenMM::OpenMMException("watchWalkers: this platform cannot do it");
    }
    virtual void takeChanges(std::vector<BiasedOverdampedLangevinIntegrator::Change>& changes, std::vector<double>& positions) {
        changes.clear();
        positions.clear();
    }
    virtual void createCheckpoint(std::ostream& stream) = 0;
    virtual void loadCheckpoint(std::istream& stream) = 0;
};

/** Energy and forces of a CommittorForce. */
class CalcCommittorForceKernel : public OpenMM::KernelImpl {
public:
    static std::string Name() { return "CalcCommittorForce"; }
    CalcCommittorForceKernel(std::string name, const OpenMM::Platform& platform) : OpenMM::KernelImpl(name, platform) {}
    virtual void initialize(const OpenMM::System& system, const CommittorForce& force) = 0;
    virtual double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy) = 0;
    virtual void copyParametersToContext(OpenMM::ContextImpl& context, const CommittorForce& force) = 0;
};

/** Energy and forces of a WalkerBondForce. */
class CalcWalkerBondForceKernel : public OpenMM::KernelImpl {
public:
    static std::string Name() { return "CalcWalkerBondForce"; }
    CalcWalkerBondForceKernel(std::string name, const OpenMM::Platform& platform) : OpenMM::KernelImpl(name, platform) {}
    virtual void initialize(const OpenMM::System& system, const WalkerBondForce& force) = 0;
    virtual double execute(OpenMM::ContextImpl& context, bool includeForces, bool includeEnergy) = 0;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_KERNELS_H_*/
