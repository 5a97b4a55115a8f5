#include "ReferenceStepKernel.h"
#include "Checkpoint.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/internal/OSRngSeed.h"
#include "openmm/reference/ReferenceConstraints.h"
#include "openmm/reference/ReferenceVirtualSites.h"
#include "openmm/reference/SimTKOpenMMRealType.h"
#include <algorithm>
#include <cmath>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

void ReferenceStepKernel::initialize(const System& system, const BiasedOverdampedLangevinIntegrator& integrator) {
    numWalkers = integrator.getNumWalkers();
    numParticles = system.getNumParticles()/numWalkers;
    for (int i = 0; i < system.getNumParticles(); i++) {
        masses.push_back(system.getParticleMass(i));
        inverseMasses.push_back(masses[i] == 0.0 ? 0.0 : 1/masses[i]);
        inverseRoots.push_back(sqrt(inverseMasses[i]));
    }
    hasConstraints = system.getNumConstraints() > 0;
    vector<Region> regions = integrator.getAbsorbingRegions();
    numAbsorbing = regions.size();
    rules = integrator.getLabelRules();
    for (auto& rule : rules)
        regions.push_back(rule.region);
    test = RegionTest(integrator.getVariables(), regions, numParticles);
    logWeights.assign(numWalkers, 0.0);
    corrections = costs = logWeights;
    steps.assign(numWalkers, 0);
    labels = steps;
    shifts.assign(3*system.getNumParticles(), 0.0);
    lanes.assign(3*numParticles*RegionTest::Lanes, 0.0);
    setWalkerStates(vector<int>(numWalkers, 0));
    int seed = integrator.getRandomNumberSeed();
    normals = RandomNormals((uint32_t) (seed == 0 ? osrngseed() : seed));
}

/** Say why a walker cannot be biased. */
void ReferenceStepKernel::refuse(int walker) {
    const string number = to_string(walker);
    for (int i = walker*numParticles; i < (walker+1)*numParticles; i++)
        for (int axis = 0; axis < 3; axis++)
            if (!isfinite((*data.positions)[i][axis]))
                throw OpenMMException("the positions of walker "+number+" are not finite: use a smaller time step, or check the "
                                      "forces at the initial structure");
    throw OpenMMException("the bias force on walker "+number+" is not finite");
}

void ReferenceStepKernel::setShifts(ContextImpl& context, const BiasedOverdampedLangevinIntegrator& integrator) {
    const vector<Vec3>& force = *data.forces;
    const double kT = BOLTZ*integrator.getTemperature(), bound = integrator.getMaxShift();
    const double factor = integrator.getBiasStrength()*sqrt(integrator.getStepSize()/(2*kT*integrator.getFriction()));
    for (int walker : moving) {
        double cost = 0;
        for (int i = walker*numParticles; i < (walker+1)*numParticles; i++) {
            double perForce = factor*inverseRoots[i];
            for (int axis = 0; axis < integrator.getNumDimensions(); axis++) {
                double shift = min(max(perForce*force[i][axis], -bound), bound);
                shifts[3*i+axis] = shift;
                cost += 0.5*shift*shift;
                if (!isfinite(force[i][axis]))
                    refuse(walker);
            }
        }
        costs[walker] = cost;
    }
    if (hasConstraints)
        projectShifts(integrator.getConstraintTolerance());
}

/** Take out of the shifts what the constraints would take out of the step: it would only add to the spread of the weights. */
void ReferenceStepKernel::projectShifts(double tolerance) {
    scratch.assign(masses.size(), Vec3());
    for (int walker : moving)
        for (int i = walker*numParticles; i < (walker+1)*numParticles; i++)
            scratch[i] = Vec3(shifts[3*i], shifts[3*i+1], shifts[3*i+2])*inverseRoots[i];
    data.constraints->applyToVelocities(*data.positions, scratch, inverseMasses, tolerance);
    for (int walker : moving) {
        costs[walker] = 0;
        for (int i = walker*numParticles; i < (walker+1)*numParticles; i++)
            for (int axis = 0; axis < 3; axis++) {
                double shift = scratch[i][axis]*sqrt(masses[i]);
                shifts[3*i+axis] = shift;
                costs[walker] += 0.5*shift*shift;
            }
    }
}

void ReferenceStepKernel::move(const BiasedOverdampedLangevinIntegrator& integrator, int walker, bool biased) {
    vector<Vec3>& position = *data.positions;
    const vector<Vec3>& force = *data.forces;
    const double mobility = integrator.getStepSize()/integrator.getFriction();
    const double noise = sqrt(2*BOLTZ*integrator.getTemperature()*mobility);
    double gain = 0;
    for (int i = walker*numParticles; i < (walker+1)*numParticles; i++) {
        if (masses[i] == 0.0)
            continue;
        double perForce = mobility*inverseMasses[i], spread = noise*inverseRoots[i];
        for (int axis = 0; axis < integrator.getNumDimensions(); axis++) {
            double xi = normals(), shift = biased ? shifts[3*i+axis] : 0.0;
            position[i][axis] += perForce*force[i][axis]+spread*(xi+shift);
            gain -= shift*xi;
        }
    }
    steps[walker]++;
    if (biased) {
        double wanted = gain-costs[walker]-corrections[walker], sum = logWeights[walker]+wanted;
        corrections[walker] = (sum-logWeights[walker])-wanted;
        logWeights[walker] = sum;
    }
}

void ReferenceStepKernel::moveAll(const BiasedOverdampedLangevinIntegrator& integrator, bool biased) {
    vector<Vec3>& positions = *data.positions;
    if (hasConstraints)
        scratch = positions;
    for (int walker : moving)
        move(integrator, walker, biased);
    if (!hasConstraints)
        return;
    data.constraints->apply(scratch, positions, inverseMasses, integrator.getConstraintTolerance());
    for (int walker : moving)
        copy_n(positions.begin()+walker*numParticles, numParticles, scratch.begin()+walker*numParticles);
    positions.swap(scratch); // those that are held have not moved, not even by the tolerance
}

void ReferenceStepKernel::execute(ContextImpl& context, const BiasedOverdampedLangevinIntegrator& integrator, bool biased, bool check) {
    moveAll(integrator, biased);
    data.virtualSites->computePositions(context.getSystem(), *data.positions, data.periodicBoxVectors);
    if (check && !test.isEmpty()) {
        for (int first = 0; first < (int) moving.size(); first += RegionTest::Lanes)
            lookUp(first, min(RegionTest::Lanes, (int) moving.size()-first));
        forgetArrived();
    }
    data.time += integrator.getStepSize();
    data.stepCount++;
}

/** Look up several of the moving walkers in the regions. */
void ReferenceStepKernel::lookUp(int first, int count) {
    const int width = RegionTest::Lanes;
    for (int lane = 0; lane < width; lane++) {
        const Vec3* position = data.positions->data()+moving[first+min(lane, count-1)]*numParticles;
        for (int i = 0; i < numParticles; i++)
            for (int axis = 0; axis < 3; axis++)
                lanes[(3*i+axis)*width+lane] = position[i][axis];
    }
    test.evaluate(lanes.data());
    for (int lane = 0; lane < count; lane++) {
        int walker = moving[first+lane], region = regionOf(lane);
        applyRules(walker, lane);
        if (watched.empty())
            states[walker] = region;
        else
            noteChange(walker, region);
    }
}

/** 1 + the index of the first absorbing region that contains a walker, or 0. */
int ReferenceStepKernel::regionOf(int lane) const {
    for (int k = 0; k < numAbsorbing; k++)
        if (test.contains(k, lane))
            return k+1;
    return 0;
}

void ReferenceStepKernel::applyRules(int walker, int lane) {
    for (size_t k = 0; k < rules.size(); k++) {
        bool named = rules[k].from == BiasedOverdampedLangevinIntegrator::AnyLabel || rules[k].from == labels[walker];
        if (named && test.contains(numAbsorbing+k, lane)) {
            labels[walker] = rules[k].to;
            return;
        }
    }
}

void ReferenceStepKernel::noteChange(int walker, int region) {
    if (region != watched[walker]) {
        changes.push_back({walker, steps[walker], watched[walker], region, labels[walker]});
        for (int i = walker*numParticles; i < (walker+1)*numParticles; i++)
            for (int axis = 0; axis < 3; axis++)
                changedPositions.push_back((*data.positions)[i][axis]);
        watched[walker] = region;
    }
    if (region != 0)
        labels[walker] = 0;
}

void ReferenceStepKernel::watchWalkers(const vector<int>& regions) {
    setWalkerStates(vector<int>(numWalkers, 0));
    watched = regions;
    changes.clear();
    changedPositions.clear();
}

void ReferenceStepKernel::takeChanges(vector<BiasedOverdampedLangevinIntegrator::Change>& taken, vector<double>& positions) {
    taken.clear();
    positions.clear();
    taken.swap(changes);
    positions.swap(changedPositions);
}

void ReferenceStepKernel::forgetArrived() {
    moving.erase(remove_if(moving.begin(), moving.end(), [&](int walker) { return states[walker] != 0; }), moving.end());
}

void ReferenceStepKernel::setLogWeights(const vector<double>& values) {
    logWeights = values;
    corrections.assign(numWalkers, 0.0);
}

void ReferenceStepKernel::setWalkerStates(const vector<int>& values) {
    states = values;
    steps.assign(numWalkers, 0);
    moving.resize(numWalkers);
    for (int walker = 0; walker < numWalkers; walker++)
        moving[walker] = walker;
    forgetArrived();
    watched.clear();
}

void ReferenceStepKernel::holdWalkers(const vector<int>& walkers) {
    for (int walker : walkers)
        if (states[walker] == 0)
            states[walker] = BiasedOverdampedLangevinIntegrator::Idle;
    forgetArrived();
}

void ReferenceStepKernel::resample(ContextImpl& context, const vector<int>& parents) {
    auto gather = [&](auto& values, int length) {
        auto old = values;
        for (int walker = 0; walker < numWalkers; walker++)
            copy_n(old.begin()+parents[walker]*length, length, values.begin()+walker*length);
    };
    gather(*data.positions, numParticles);
    gather(shifts, 3*numParticles);
    gather(costs, 1);
    gather(logWeights, 1);
    gather(corrections, 1);
    gather(labels, 1);
    vector<int> newSteps = steps, newStates = states, newWatched = watched;
    gather(newSteps, 1);
    gather(newStates, 1);
    if (!watched.empty())
        gather(newWatched, 1);
    setWalkerStates(newStates);
    steps = newSteps;
    watched = newWatched;
}

/** OpenMM writes positions and box itself, and believes them. */
template <class Checkpoint>
void ReferenceStepKernel::coverPlaces(Checkpoint& checkpoint) const {
    checkpoint.cover(data.positions->data(), data.positions->size()*sizeof(Vec3));
    checkpoint.cover(data.periodicBoxVectors, 3*sizeof(Vec3));
}

void ReferenceStepKernel::createCheckpoint(ostream& stream) {
    CheckpointWriter out(stream, numWalkers, numAbsorbing);
    out.write(logWeights);
    out.write(corrections);
    out.write(states);
    out.write(steps);
    out.write(labels);
    out.write(vector<RandomNormals>{normals});
    coverPlaces(out);
    out.finish();
}

void ReferenceStepKernel::loadCheckpoint(istream& stream) {
    CheckpointReader in(stream, numWalkers, numAbsorbing);
    auto newWeights = in.read<double>(numWalkers), newCorrections = in.read<double>(numWalkers);
    auto newStates = in.read<int>(numWalkers), newSteps = in.read<int>(numWalkers), newLabels = in.read<int>(numWalkers);
    auto newNormals = in.read<RandomNormals>(1);
    coverPlaces(in);
    in.finish();
    in.checkWalkers(newStates, newSteps, newLabels);
    if (!newNormals[0].isWithinBlock())
        refuseCheckpoint("holds a place beyond the random numbers");
    setWalkerStates(newStates);
    logWeights = newWeights;
    corrections = newCorrections;
    steps = newSteps;
    labels = newLabels;
    normals = newNormals[0];
}
