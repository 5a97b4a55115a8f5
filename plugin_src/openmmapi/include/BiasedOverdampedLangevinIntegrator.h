#ifndef OPENMM_RARE_BIASEDOVERDAMPEDLANGEVININTEGRATOR_H_
#define OPENMM_RARE_BIASEDOVERDAMPEDLANGEVININTEGRATOR_H_

#include "RareExport.h"
#include "Regions.h"
#include "openmm/Integrator.h"
#include "openmm/Kernel.h"
#include <iosfwd>
#include <string>
#include <vector>

namespace OpenMMRare {

/**
 * Overdamped Langevin dynamics of many independent walkers that are held in one System: particles w*n to (w+1)*n-1 are
 * walker w.  One step moves every coordinate by
 *
 *     dt/(friction m) f + sqrt(2 kT dt/(friction m)) (xi + u),    u = alpha sqrt(dt/(2 kT friction m)) f_bias
 *
 * with xi normal and |u| bounded, and adds -u (xi + u/2) to the walker's log weight: the logarithm of the
 * probability of its path without and with the bias.  The forces f_bias are those of the bias force groups.  They may be kept
 * for several steps (setBiasInterval), which costs efficiency and never correctness.
 *
 * Constraints of the System are applied to the positions after each step, and u is projected on them: the weight counts no
 * shift that the constraints would take back.
 *
 * Every checkInterval steps each walker is looked up in the regions.  One that is found in an absorbing region is absorbed:
 * it no longer moves, and its weight and its number of steps no longer change.  Each walker also carries a label, which the
 * regions of label rules change: of the rules that name its label (or any) and whose region it is in, the first one applies.
 */
class OPENMM_EXPORT_RARE BiasedOverdampedLangevinIntegrator : public OpenMM::Integrator {
public:
    /** State of a walker that is held where it is, without having been absorbed. */
    static constexpr int Idle = -1;
    /**
     * @param temperature     in K
     * @param friction        in 1/ps
     * @param stepSize        in ps
     * @param numWalkers      must divide the number of particles of the System
     */
    BiasedOverdampedLangevinIntegrator(double temperature, double friction, double stepSize, int numWalkers=1);
    double getTemperature() const { return temperature; }
    void setTemperature(double value);
    double getFriction() const { return friction; }
    void setFriction(double value);
    int getRandomNumberSeed() const { return randomNumberSeed; }
    /** 0 for a seed that nobody can know. */
    void setRandomNumberSeed(int seed) { randomNumberSeed = seed; }
    int getNumWalkers() const { return numWalkers; }
    /** Only the first so many coordinates of each particle move. */
    int getNumDimensions() const { return numDimensions; }
    void setNumDimensions(int value);
    /** Factor alpha on the bias. */
    double getBiasStrength() const { return biasStrength; }
    void setBiasStrength(double value);
    /** Bound on |u|. */
    double getMaxShift() const { return maxShift; }
    void setMaxShift(double value);
    /** A bit for every force group that is bias. */
    int getBiasForceGroups() const { return biasForceGroups; }
    void setBiasForceGroups(int groups) { biasForceGroups = groups; }
    /** Steps for which the bias forces are kept. */
    int getBiasInterval() const { return biasInterval; }
    void setBiasInterval(int value);
    /** Steps between looks at the regions. */
    int getCheckInterval() const { return checkInterval; }
    void setCheckInterval(int value);

    /** Add a variable for regions to refer to, and return its index. */
    int addVariable(const Variable& variable);
    const std::vector<Variable>& getVariables() const { return variables; }
    /** Add a region that absorbs, and return its index k: a walker's state becomes k+1 there. */
    int addAbsorbingRegion(const Region& region);
    const std::vector<Region>& getAbsorbingRegions() const { return absorbingRegions; }
    /** Walkers in this region whose label is `from`, or AnyLabel, get the label `to`. */
    struct LabelRule { Region region; int from, to; };
    static constexpr int AnyLabel = -1;
    int addLabelRule(const LabelRule& rule);
    const std::vector<LabelRule>& getLabelRules() const { return labelRules; }

    /** Take steps; returns early once no walker moves any more. */
    void step(int steps);
    /** One number for every walker: the logarithm of its path weight. */
    void getLogWeights(std::vector<double>& values) const;
    void setLogWeights(const std::vector<double>& values);
    /** 0 while a walker moves, 1 + the index of the absorbing region once it is in there, Idle if it is held. */
    void getWalkerStates(std::vector<int>& values) const;
    void setWalkerStates(const std::vector<int>& values);
    /** Hold walkers that move where they are: their states become Idle.  Forces may call this in the course of a step. */
    void holdWalkers(const std::vector<int>& walkers);
    /** Steps that each walker has moved since setWalkerStates(). */
    void getWalkerSteps(std::vector<int>& values) const;
    void getWalkerLabels(std::vector<int>& values) const;
    void setWalkerLabels(const std::vector<int>& values);
    /** Make walker w a copy of walker parents[w], in positions, log weight, state, steps and label. */
    void resampleWalkers(const std::vector<int>& parents);

    /** A walker has gone from one region to another; 0 is none, 1 + the index of an absorbing region is that one. */
    struct Change { int walker, step, from, to, label; };
    /**
     * Release all walkers; until setWalkerStates() is called no region holds one, and takeChanges() tells where each has gone.
     * Labels become 0 in every region.  Checkpoints know nothing of this.  For the platforms Reference and CPU.
     *
     * @param regions   where each walker is now
     */
    void watchWalkers(const std::vector<int>& regions);
    /**
     * What has changed since the last call, in order.
     *
     * @param positions   x, y and z of each particle of the walker, for each change
     */
    void takeChanges(std::vector<Change>& changes, std::vector<double>& positions);

    void createCheckpoint(std::ostream& stream) const;
    void loadCheckpoint(std::istream& stream);
protected:
    void initialize(OpenMM::ContextImpl& context);
    void cleanup();
    std::vector<std::string> getKernelNames();
    double computeKineticEnergy();
    bool kineticEnergyRequiresForce() const { return false; }
private:
    void checkBound() const;
    void checkLength(const char* method, size_t length) const;
    double temperature, friction, biasStrength, maxShift;
    int numWalkers, randomNumberSeed, numDimensions, biasForceGroups, biasInterval, checkInterval;
    std::vector<Variable> variables;
    std::vector<Region> absorbingRegions;
    std::vector<LabelRule> labelRules;
    mutable OpenMM::Kernel kernel;
};

} // namespace OpenMMRare

#endif /*OPENMM_RARE_BIASEDOVERDAMPEDLANGEVININTEGRATOR_H_*/
