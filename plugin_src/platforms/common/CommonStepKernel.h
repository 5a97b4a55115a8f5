#ifndef OPENMM_RARE_COMMONSTEPKERNEL_H_
#define OPENMM_RARE_COMMONSTEPKERNEL_H_

#include "AtomOrder.h"
#include "RareKernels.h"
#include "RegionTables.h"
#include "openmm/common/ComputeArray.h"
#include "openmm/common/ComputeContext.h"
#include <map>

namespace OpenMMRare {

/** Moves the walkers of a BiasedOverdampedLangevinIntegrator, on the platforms OpenCL, CUDA and HIP. */
class CommonStepKernel : public IntegrateBiasedOverdampedLangevinStepKernel {
public:
    CommonStepKernel(std::string name, const OpenMM::Platform& platform, OpenMM::ComputeContext& cc) :
            IntegrateBiasedOverdampedLangevinStepKernel(name, platform), cc(cc) {}
    void initialize(const OpenMM::System& system, const BiasedOverdampedLangevinIntegrator& integrator);
    void setShifts(OpenMM::ContextImpl& context, const BiasedOverdampedLangevinIntegrator& integrator);
    void execute(OpenMM::ContextImpl& context, const BiasedOverdampedLangevinIntegrator& integrator, bool biased, bool check);
    /** It may be a few steps old, and then too large: walkers that do not move any more lose nothing by further steps. */
    int getNumMoving();
    void getLogWeights(std::vector<double>& values);
    void setLogWeights(const std::vector<double>& values);
    void getWalkerStates(std::vector<int>& values);
    void setWalkerStates(const std::vector<int>& values);
    void holdWalkers(const std::vector<int>& walkers);
    void getWalkerSteps(std::vector<int>& values);
    void getWalkerLabels(std::vector<int>& values);
    void setWalkerLabels(const std::vector<int>& values);
    void resample(OpenMM::ContextImpl& context, const std::vector<int>& parents);
    void createCheckpoint(std::ostream& stream);
    void loadCheckpoint(std::istream& stream);
private:
    void createArrays(const RegionTables& tables);
    void createKernels(const RegionTables& tables, int numDimensions);
    void projectShifts(double tolerance);
    void applyMoves(double tolerance);
    OpenMM::ArrayInterface& corrections();
    void setReal(OpenMM::ComputeKernel& kernel, int index, double value);
    void putStates(const std::vector<int>& values);
    void readReport();
    void copyCellOffsets(const std::vector<int>& parents);
    template <class Checkpoint> void coverPlaces(Checkpoint& checkpoint);
    OpenMM::ComputeContext& cc;
    AtomOrder order;
    int numWalkers, numParticles, numAbsorbing, mixedSize;
    bool isPeriodic, hasRegions, hasConstraints;
    /** Number of walkers that moved when the device was asked last, and steps since then. */
    int numMoving, stepsSinceReport;
    /** Log weights that were set; what the steps have added since then is on the device, in units of WeightUnits. */
    std::vector<double> baseWeights;
    OpenMM::ComputeArray logWeights, states, steps, labels, shifts, movingCount, badWalker;
    OpenMM::ComputeArray variables, regions, rules, numbers, coordination;
    OpenMM::ComputeArray parentArray, positionBuffer, walkerBuffer, weightBuffer;
    OpenMM::ComputeKernel shiftKernel, moveKernel, lookUpKernel;
    OpenMM::ComputeKernel toVelocitiesKernel, fromVelocitiesKernel, applyMovesKernel;
    OpenMM::ComputeKernel gatherAtomsKernel, scatterAtomsKernel, gatherWalkersKernel, scatterWalkersKernel;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_COMMONSTEPKERNEL_H_*/
