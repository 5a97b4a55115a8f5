#ifndef OPENMM_RARE_REFERENCESTEPKERNEL_H_
#define OPENMM_RARE_REFERENCESTEPKERNEL_H_

#include "RandomNormals.h"
#include "RareKernels.h"
#include "openmm/Vec3.h"
#include "openmm/reference/ReferencePlatform.h"

namespace OpenMMRare {

/** Moves the walkers of a BiasedOverdampedLangevinIntegrator, on the platforms Reference and CPU. */
class ReferenceStepKernel : public IntegrateBiasedOverdampedLangevinStepKernel {
public:
    ReferenceStepKernel(std::string name, const OpenMM::Platform& platform, OpenMM::ReferencePlatform::PlatformData& data) :
            IntegrateBiasedOverdampedLangevinStepKernel(name, platform), data(data) {}
    void initialize(const OpenMM::System& system, const BiasedOverdampedLangevinIntegrator& integrator);
    void setShifts(OpenMM::ContextImpl& context, const BiasedOverdampedLangevinIntegrator& integrator);
    void execute(OpenMM::ContextImpl& context, const BiasedOverdampedLangevinIntegrator& integrator, bool biased, bool check);
    int getNumMoving() { return moving.size(); }
    void getLogWeights(std::vector<double>& values) { values = logWeights; }
    void setLogWeights(const std::vector<double>& values);
    void getWalkerStates(std::vector<int>& values) { values = states; }
    void setWalkerStates(const std::vector<int>& values);
    void holdWalkers(const std::vector<int>& walkers);
    void getWalkerSteps(std::vector<int>& values) { values = steps; }
    void getWalkerLabels(std::vector<int>& values) { values = labels; }
    void setWalkerLabels(const std::vector<int>& values) { labels = values; }
    void resample(OpenMM::ContextImpl& context, const std::vector<int>& parents);
    void watchWalkers(const std::vector<int>& regions);
    void takeChanges(std::vector<BiasedOverdampedLangevinIntegrator::Change>& changes, std::vector<double>& positions);
    void createCheckpoint(std::ostream& stream);
    void loadCheckpoint(std::istream& stream);
private:
    void refuse(int walker);
    void projectShifts(double tolerance);
    void move(const BiasedOverdampedLangevinIntegrator& integrator, int walker, bool biased);
    void moveAll(const BiasedOverdampedLangevinIntegrator& integrator, bool biased);
    void lookUp(int first, int count);
    int regionOf(int lane) const;
    void applyRules(int walker, int lane);
    void noteChange(int walker, int region);
    void forgetArrived();
    template <class Checkpoint> void coverPlaces(Checkpoint& checkpoint) const;
    OpenMM::ReferencePlatform::PlatformData& data;
    int numWalkers, numParticles, numAbsorbing;
    bool hasConstraints;
    std::vector<BiasedOverdampedLangevinIntegrator::LabelRule> rules;
    std::vector<double> masses, inverseMasses, inverseRoots;
    RandomNormals normals;
    RegionTest test;
    /** By walker; logWeights are compensated sums, what they lack is in the corrections. */
    std::vector<double> logWeights, corrections, costs;
    std::vector<int> states, steps, labels;
    /** The walkers that move. */
    std::vector<int> moving;
    /** Shift of the noise by walker, particle and axis. */
    std::vector<double> shifts;
    /** Work space with constraints: the shifts as velocities, or the positions before a step. */
    std::vector<OpenMM::Vec3> scratch;
    std::vector<double> lanes;
    /** The region where each walker is, if they are watched, and what has changed, with positions. */
    std::vector<int> watched;
    std::vector<BiasedOverdampedLangevinIntegrator::Change> changes;
    std::vector<double> changedPositions;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_REFERENCESTEPKERNEL_H_*/
