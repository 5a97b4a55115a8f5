#include "CommonStepKernel.h"
#include "Checkpoint.h"
#include "CommonKernelSources.h"
#include "openmm/OpenMMException.h"
#include "openmm/common/ContextSelector.h"
#include "openmm/common/IntegrationUtilities.h"
#include "openmm/internal/ContextImpl.h"
#include "openmm/reference/SimTKOpenMMRealType.h"
#include <algorithm>
#include <cmath>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

/** Log weights are sums of integers in units of 2^-36: up to 1e8, and the rounding of 1e9 steps adds up to less than 1e-6. */
static const long long WeightUnits = 1LL<<36;

/** Steps after which the device is asked again how many walkers move: to ask means to wait for it. */
static const int StepsPerReport = 16;

void CommonStepKernel::initialize(const System& system, const BiasedOverdampedLangevinIntegrator& integrator) {
    cc.initializeContexts();
    ContextSelector selector(cc);
    numWalkers = integrator.getNumWalkers();
    numParticles = system.getNumParticles()/numWalkers;
    mixedSize = cc.getUseDoublePrecision() || cc.getUseMixedPrecision() ? sizeof(double) : sizeof(float);
    RegionTables tables(integrator, numParticles);
    isPeriodic = system.usesPeriodicBoundaryConditions();
    hasConstraints = system.getNumConstraints() > 0;
    numAbsorbing = tables.numAbsorbing;
    hasRegions = numAbsorbing > 0 || tables.numRules > 0;
    if (isPeriodic && hasRegions && !tables.allNearestImages)
        throw OpenMMException("BiasedOverdampedLangevinIntegrator: this platform moves particles by periods of the box, so that "
                              "regions in a periodic system need variables of nearest images: give each the box of the system, or use "
                              "Reference or CPU, which can do without");
    cc.getIntegrationUtilities().initRandomNumberGenerator(integrator.getRandomNumberSeed());
    order.initialize(cc);
    createArrays(tables);
    createKernels(tables, integrator.getNumDimensions());
    setLogWeights(vector<double>(numWalkers, 0.0));
    setWalkerStates(vector<int>(numWalkers, 0));
    setWalkerLabels(vector<int>(numWalkers, 0));
}

void CommonStepKernel::createArrays(const RegionTables& tables) {
    const int numAtoms = cc.getNumAtoms();
    logWeights.initialize<long long>(cc, numWalkers, "logWeights");
    states.initialize<int>(cc, numWalkers, "states");
    steps.initialize<int>(cc, numWalkers, "steps");
    labels.initialize<int>(cc, numWalkers, "labels");
    shifts.initialize(cc, 3*numAtoms, mixedSize, "shifts");
    movingCount.initialize<int>(cc, 1, "movingCount");
    badWalker.initialize<int>(cc, 1, "badWalker");
    cc.clearBuffer(shifts);
    variables.initialize<int>(cc, tables.variables.size(), "variables");
    variables.upload(tables.variables);
    regions.initialize<int>(cc, tables.regions.size(), "regions");
    regions.upload(tables.regions);
    rules.initialize<int>(cc, tables.rules.size(), "rules");
    rules.upload(tables.rules);
    numbers.initialize(cc, tables.numbers.size(), mixedSize, "numbers");
    numbers.upload(tables.numbers, true);
    coordination.initialize(cc, tables.hasMoments ? numAtoms : 1, mixedSize, "coordination");
    parentArray.initialize<int>(cc, numWalkers, "parents");
    positionBuffer.initialize(cc, numAtoms, 4*mixedSize, "positionBuffer");
    walkerBuffer.initialize<mm_int4>(cc, numWalkers, "walkerBuffer");
    weightBuffer.initialize<long long>(cc, numWalkers, "weightBuffer");
}

/** Give a kernel its arguments, an empty one for each null pointer. */
static void addArgs(ComputeKernel& kernel, const vector<ArrayInterface*>& arrays) {
    for (auto* array : arrays) {
        if (array == nullptr)
            kernel->addArg();
        else
            kernel->addArg(*array);
    }
}

void CommonStepKernel::createKernels(const RegionTables& tables, int numDimensions) {
    map<string, string> defines;
    defines["NUM_PARTICLES"] = cc.intToString(numParticles);
    defines["NUM_DIMENSIONS"] = cc.intToString(numDimensions);
    defines["WEIGHT_UNITS"] = to_string(WeightUnits);
    if (hasConstraints)
        defines["HAS_CONSTRAINTS"] = "1";
    ComputeProgram program = cc.compileProgram(CommonKernelSources::positions+CommonKernelSources::walkers, defines);
    IntegrationUtilities& integration = cc.getIntegrationUtilities();
    ArrayInterface &posq = cc.getPosq(), &force = cc.getLongForceBuffer(), &velm = cc.getVelm();
    const int numAtoms = cc.getNumAtoms();
    for (auto* kernel : {&shiftKernel, &moveKernel}) {
        *kernel = program->createKernel(kernel == &shiftKernel ? "setShifts" : "moveWalkers");
        (*kernel)->addArg(numAtoms);
        (*kernel)->addArg(cc.getPaddedNumAtoms());
    }
    addArgs(shiftKernel, {nullptr, nullptr, &force, &velm, &cc.getAtomIndexArray(), &states, &shifts, &badWalker});
    addArgs(moveKernel, {nullptr, nullptr, nullptr, &force, &posq, &corrections(), &velm, &integration.getRandom(), nullptr,
                         &cc.getAtomIndexArray(), &states, &shifts, &logWeights, &steps, &badWalker});
    if (hasConstraints)
        moveKernel->addArg(integration.getPosDelta());
    auto create = [&](const string& name, int count, const vector<ArrayInterface*>& arrays) {
        ComputeKernel kernel = program->createKernel(name);
        kernel->addArg(count);
        addArgs(kernel, arrays);
        return kernel;
    };
    gatherAtomsKernel = create("gatherAtoms", numAtoms, {&parentArray, &order.getPlaces(), &posq, &corrections(), &positionBuffer});
    scatterAtomsKernel = create("scatterAtoms", numAtoms, {&order.getPlaces(), &positionBuffer, &posq, &corrections()});
    gatherWalkersKernel = create("gatherWalkers", numWalkers,
            {&parentArray, &states, &steps, &labels, &logWeights, &walkerBuffer, &weightBuffer});
    scatterWalkersKernel = create("scatterWalkers", numWalkers,
            {&walkerBuffer, &weightBuffer, &states, &steps, &labels, &logWeights, &movingCount});
    if (hasConstraints) {
        toVelocitiesKernel = create("shiftsToVelocities", numAtoms, {&cc.getAtomIndexArray(), &states, &shifts, &velm});
        fromVelocitiesKernel = create("velocitiesToShifts", numAtoms, {&cc.getAtomIndexArray(), &states, &velm, &shifts});
        applyMovesKernel = create("applyMoves", numAtoms,
                {&cc.getAtomIndexArray(), &states, &integration.getPosDelta(), &posq, &corrections()});
    }
    if (!hasRegions)
        return;
    defines["NUM_VARIABLES"] = cc.intToString(tables.numVariables);
    defines["NUM_ABSORBING"] = cc.intToString(tables.numAbsorbing);
    defines["NUM_RULES"] = cc.intToString(tables.numRules);
    defines["ANY_LABEL"] = cc.intToString(BiasedOverdampedLangevinIntegrator::AnyLabel);
    defines["COORDINATE"] = cc.intToString(Variable::Coordinate);
    defines["COORDINATION_MOMENT"] = cc.intToString(Variable::CoordinationMoment);
    defines["LINEAR_COMBINATION"] = cc.intToString(Variable::LinearCombination);
    program = cc.compileProgram(CommonKernelSources::positions+CommonKernelSources::regions, defines);
    lookUpKernel = create("lookUpWalkers", numWalkers, {&posq, &corrections(), &order.getPlaces(), &variables, &regions, &rules,
                                                        &numbers, &coordination, &states, &labels, &movingCount});
}

/** The corrections of the positions, where there are some. */
ArrayInterface& CommonStepKernel::corrections() {
    return cc.getUseMixedPrecision() ? cc.getPosqCorrection() : cc.getPosq();
}

/** Set an argument that is `mixed` in the kernel. */
void CommonStepKernel::setReal(ComputeKernel& kernel, int index, double value) {
    if (mixedSize == sizeof(double))
        kernel->setArg(index, value);
    else
        kernel->setArg(index, (float) value);
}

void CommonStepKernel::setShifts(ContextImpl& context, const BiasedOverdampedLangevinIntegrator& integrator) {
    ContextSelector selector(cc);
    const double kT = BOLTZ*integrator.getTemperature();
    setReal(shiftKernel, 2, integrator.getBiasStrength()*sqrt(integrator.getStepSize()/(2*kT*integrator.getFriction())));
    setReal(shiftKernel, 3, integrator.getMaxShift());
    shiftKernel->execute(cc.getNumAtoms());
    if (hasConstraints)
        projectShifts(integrator.getConstraintTolerance());
}

/** Take out of the shifts what the constraints would take out of the step: it would only add to the spread of the weights. */
void CommonStepKernel::projectShifts(double tolerance) {
    toVelocitiesKernel->execute(cc.getNumAtoms());
    cc.getIntegrationUtilities().applyVelocityConstraints(tolerance);
    fromVelocitiesKernel->execute(cc.getNumAtoms());
}

/** Correct the moves for the constraints, and add them to the positions of the walkers that move. */
void CommonStepKernel::applyMoves(double tolerance) {
    cc.getIntegrationUtilities().applyConstraints(tolerance);
    applyMovesKernel->execute(cc.getNumAtoms());
}

void CommonStepKernel::execute(ContextImpl& context, const BiasedOverdampedLangevinIntegrator& integrator, bool biased, bool check) {
    ContextSelector selector(cc);
    IntegrationUtilities& integration = cc.getIntegrationUtilities();
    const double mobility = integrator.getStepSize()/integrator.getFriction();
    setReal(moveKernel, 2, mobility);
    setReal(moveKernel, 3, sqrt(2*BOLTZ*integrator.getTemperature()*mobility));
    moveKernel->setArg(4, (int) biased);
    moveKernel->setArg(10, integration.prepareRandomNumbers(cc.getPaddedNumAtoms()));
    if (hasConstraints)
        cc.clearBuffer(integration.getPosDelta());
    moveKernel->execute(cc.getNumAtoms());
    if (hasConstraints)
        applyMoves(integrator.getConstraintTolerance());
    integration.computeVirtualSites();
    if (check && hasRegions)
        lookUpKernel->execute(numWalkers);
    stepsSinceReport++;
    cc.setTime(cc.getTime()+integrator.getStepSize());
    cc.setStepCount(cc.getStepCount()+1);
    cc.reorderAtoms();
}

int CommonStepKernel::getNumMoving() {
    if (stepsSinceReport >= StepsPerReport)
        readReport();
    return numMoving;
}

void CommonStepKernel::readReport() {
    ContextSelector selector(cc);
    int bad;
    badWalker.download(&bad);
    movingCount.download(&numMoving);
    stepsSinceReport = 0;
    if (bad < 0)
        throw OpenMMException("the forces on walker "+to_string(-bad-1)+" are not finite: use a smaller time step, or check the forces "
                              "at the initial structure");
    if (bad > 0)
        throw OpenMMException("the bias force on walker "+to_string(bad-1)+" is not finite: if its positions are not either, use "
                              "a smaller time step, or check the forces at the initial structure");
}

void CommonStepKernel::getLogWeights(vector<double>& values) {
    ContextSelector selector(cc);
    readReport();
    vector<long long> added;
    logWeights.download(added);
    values = baseWeights;
    for (int walker = 0; walker < numWalkers; walker++)
        values[walker] += (double) added[walker]/WeightUnits;
}

void CommonStepKernel::setLogWeights(const vector<double>& values) {
    ContextSelector selector(cc);
    baseWeights = values;
    cc.clearBuffer(logWeights);
}

void CommonStepKernel::getWalkerStates(vector<int>& values) {
    ContextSelector selector(cc);
    readReport();
    states.download(values);
}

void CommonStepKernel::putStates(const vector<int>& values) {
    states.upload(values);
    numMoving = count(values.begin(), values.end(), 0);
    movingCount.upload(&numMoving);
    stepsSinceReport = 0;
}

void CommonStepKernel::setWalkerStates(const vector<int>& values) {
    ContextSelector selector(cc);
    putStates(values);
    cc.clearBuffer(steps);
    cc.clearBuffer(badWalker);
}

void CommonStepKernel::holdWalkers(const vector<int>& walkers) {
    ContextSelector selector(cc);
    vector<int> values;
    states.download(values);
    for (int walker : walkers)
        if (values[walker] == 0)
            values[walker] = BiasedOverdampedLangevinIntegrator::Idle;
    putStates(values);
}

void CommonStepKernel::getWalkerSteps(vector<int>& values) {
    ContextSelector selector(cc);
    steps.download(values);
}

void CommonStepKernel::getWalkerLabels(vector<int>& values) {
    ContextSelector selector(cc);
    labels.download(values);
}

void CommonStepKernel::setWalkerLabels(const vector<int>& values) {
    ContextSelector selector(cc);
    labels.upload(values);
}

void CommonStepKernel::resample(ContextImpl& context, const vector<int>& parents) {
    ContextSelector selector(cc);
    parentArray.upload(parents);
    gatherAtomsKernel->execute(cc.getNumAtoms());
    scatterAtomsKernel->execute(cc.getNumAtoms());
    cc.clearBuffer(movingCount);
    gatherWalkersKernel->execute(numWalkers);
    scatterWalkersKernel->execute(numWalkers);
    const vector<double> old = baseWeights;
    for (int walker = 0; walker < numWalkers; walker++)
        baseWeights[walker] = old[parents[walker]];
    if (isPeriodic)
        copyCellOffsets(parents);
    readReport();
}

/** What OpenMM has moved particles by, in periods of the box, belongs to their positions. */
void CommonStepKernel::copyCellOffsets(const vector<int>& parents) {
    const vector<int>& atoms = cc.getAtomIndex();
    vector<int> places(cc.getNumAtoms());
    for (int place = 0; place < cc.getNumAtoms(); place++)
        places[atoms[place]] = place;
    const vector<mm_int4> old = cc.getPosCellOffsets();
    for (int place = 0; place < cc.getNumAtoms(); place++) {
        int walker = atoms[place]/numParticles;
        cc.getPosCellOffsets()[place] = old[places[atoms[place]+(parents[walker]-walker)*numParticles]];
    }
}

/** OpenMM writes positions and box itself, and believes them. */
template <class Checkpoint>
void CommonStepKernel::coverPlaces(Checkpoint& checkpoint) {
    for (ArrayInterface* array : {&cc.getPosq(), &corrections()}) {
        vector<char> bytes(array->getSize()*array->getElementSize());
        array->download(bytes.data());
        checkpoint.cover(bytes.data(), bytes.size());
    }
    Vec3 box[3];
    cc.getPeriodicBoxVectors(box[0], box[1], box[2]);
    checkpoint.cover(box, sizeof(box));
}

void CommonStepKernel::createCheckpoint(ostream& stream) {
    ContextSelector selector(cc);
    CheckpointWriter out(stream, numWalkers, numAbsorbing);
    out.write(baseWeights);
    vector<long long> added;
    logWeights.download(added);
    out.write(added);
    vector<int> values;
    for (auto* array : {&states, &steps, &labels}) {
        array->download(values);
        out.write(values);
    }
    coverPlaces(out);
    out.finish();
}

void CommonStepKernel::loadCheckpoint(istream& stream) {
    ContextSelector selector(cc);
    CheckpointReader in(stream, numWalkers, numAbsorbing);
    auto newWeights = in.read<double>(numWalkers);
    auto added = in.read<long long>(numWalkers);
    auto newStates = in.read<int>(numWalkers), newSteps = in.read<int>(numWalkers), newLabels = in.read<int>(numWalkers);
    coverPlaces(in);
    in.finish();
    in.checkWalkers(newStates, newSteps, newLabels);
    baseWeights = newWeights;
    logWeights.upload(added);
    setWalkerStates(newStates);
    steps.upload(newSteps);
    labels.upload(newLabels);
}
