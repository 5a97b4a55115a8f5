#include "BiasedOverdampedLangevinIntegrator.h"
#include "RareKernels.h"
#include "openmm/Context.h"
#include "openmm/OpenMMException.h"
#include "openmm/internal/ContextImpl.h"
#include <cmath>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

typedef IntegrateBiasedOverdampedLangevinStepKernel StepKernel;

static void check(bool holds, const string& complaint) {
    if (!holds)
        throw OpenMMException("BiasedOverdampedLangevinIntegrator: "+complaint);
}

BiasedOverdampedLangevinIntegrator::BiasedOverdampedLangevinIntegrator(double temperature, double friction, double stepSize, int numWalkers) :
        biasStrength(1.0), maxShift(0.5), numWalkers(numWalkers), randomNumberSeed(0), numDimensions(3), biasForceGroups(0),
        biasInterval(1), checkInterval(1) {
    check(numWalkers >= 1, "there must be at least one walker");
    check(isfinite(stepSize) && stepSize > 0, "the step size must be positive");
    setTemperature(temperature);
    setFriction(friction);
    setStepSize(stepSize);
    setConstraintTolerance(1e-5);
}

void BiasedOverdampedLangevinIntegrator::setTemperature(double value) {
    check(isfinite(value) && value > 0, "the temperature must be positive");
    temperature = value;
}

void BiasedOverdampedLangevinIntegrator::setFriction(double value) {
    check(isfinite(value) && value > 0, "the friction must be positive");
    friction = value;
}

void BiasedOverdampedLangevinIntegrator::setBiasStrength(double value) {
    check(isfinite(value), "the strength of the bias must be finite");
    biasStrength = value;
}

void BiasedOverdampedLangevinIntegrator::setMaxShift(double value) {
    check(value > 0, "the largest shift must be positive");
    maxShift = value;
}

void BiasedOverdampedLangevinIntegrator::setNumDimensions(int value) {
    check(value >= 1 && value <= 3, "the number of dimensions must be 1, 2 or 3");
    numDimensions = value;
}

void BiasedOverdampedLangevinIntegrator::setBiasInterval(int value) {
    check(value >= 1, "the bias interval must be at least 1 step");
    biasInterval = value;
}

void BiasedOverdampedLangevinIntegrator::setCheckInterval(int value) {
    check(value >= 1, "the check interval must be at least 1 step");
    checkInterval = value;
}

int BiasedOverdampedLangevinIntegrator::addVariable(const Variable& variable) {
    variables.push_back(variable);
    return variables.size()-1;
}

int BiasedOverdampedLangevinIntegrator::addAbsorbingRegion(const Region& region) {
    absorbingRegions.push_back(region);
    return absorbingRegions.size()-1;
}

int BiasedOverdampedLangevinIntegrator::addLabelRule(const LabelRule& rule) {
    check(rule.from >= AnyLabel && rule.to >= 0, "a label is 0 or more, and a rule is from a label or from any");
    labelRules.push_back(rule);
    return labelRules.size()-1;
}

void BiasedOverdampedLangevinIntegrator::initialize(ContextImpl& contextRef) {
    if (owner != NULL && &contextRef.getOwner() != owner)
        throw OpenMMException("This Integrator is already bound to a context");
    const System& system = contextRef.getSystem();
    check(system.getNumParticles()%numWalkers == 0, to_string(numWalkers)+" walkers do not divide the "
          +to_string(system.getNumParticles())+" particles of the System");
    check(system.getNumConstraints() == 0 || numDimensions == 3, "particles with constraints must move in 3 dimensions, not in "
          +to_string(numDimensions)+"; set the number of dimensions to 3, or build the System without constraints");
    for (int i = 0; i < system.getNumParticles(); i++)
        check(system.getParticleMass(i) >= 0, "the mass of particle "+to_string(i)+" is negative");
    context = &contextRef;
    owner = &contextRef.getOwner();
    kernel = context->getPlatform().createKernel(StepKernel::Name(), contextRef);
    kernel.getAs<StepKernel>().initialize(system, *this);
}

void BiasedOverdampedLangevinIntegrator::cleanup() {
    kernel = Kernel();
}

vector<string> BiasedOverdampedLangevinIntegrator::getKernelNames() {
    return {StepKernel::Name()};
}

double BiasedOverdampedLangevinIntegrator::computeKineticEnergy() {
    return 0.0;
}

void BiasedOverdampedLangevinIntegrator::checkBound() const {
    if (context == NULL)
        throw OpenMMException("This Integrator is not bound to a context!");
}

void BiasedOverdampedLangevinIntegrator::step(int steps) {
    checkBound();
    check(isfinite(getStepSize()), "the step size is not finite");
    StepKernel& stepKernel = kernel.getAs<StepKernel>();
    int groups = getIntegrationForceGroups(), bias = groups & biasForceGroups;
    for (int i = 0; i < steps && stepKernel.getNumMoving() > 0; i++) {
        context->updateContextState();
        if (bias != 0 && i%biasInterval == 0) {
            context->calcForcesAndEnergy(true, false, bias);
            stepKernel.setShifts(*context, *this);
        }
        context->calcForcesAndEnergy(true, false, groups & ~bias);
        stepKernel.execute(*context, *this, bias != 0, (i+1)%checkInterval == 0);
    }
}

void BiasedOverdampedLangevinIntegrator::checkLength(const char* method, size_t length) const {
    checkBound();
    check((int) length == numWalkers, string(method)+": "+to_string(numWalkers)+" numbers are needed, one for each walker, not "+to_string(length));
}

void BiasedOverdampedLangevinIntegrator::getLogWeights(vector<double>& values) const {
    checkBound();
    kernel.getAs<StepKernel>().getLogWeights(values);
}

void BiasedOverdampedLangevinIntegrator::setLogWeights(const vector<double>& values) {
    checkLength("setLogWeights", values.size());
    for (double value : values)
        check(isfinite(value), "setLogWeights: a log weight is "+to_string(value)+", which is not finite");
    kernel.getAs<StepKernel>().setLogWeights(values);
}

void BiasedOverdampedLangevinIntegrator::getWalkerStates(vector<int>& values) const {
    checkBound();
    kernel.getAs<StepKernel>().getWalkerStates(values);
}

void BiasedOverdampedLangevinIntegrator::setWalkerStates(const vector<int>& values) {
    checkLength("setWalkerStates", values.size());
    for (int value : values)
        check(value >= Idle && value <= (int) absorbingRegions.size(), "setWalkerStates: "+to_string(value)+" is no state");
    kernel.getAs<StepKernel>().setWalkerStates(values);
}

void BiasedOverdampedLangevinIntegrator::holdWalkers(const vector<int>& walkers) {
    checkBound();
    for (int walker : walkers)
        check(walker >= 0 && walker < numWalkers, "holdWalkers: there is no walker "+to_string(walker));
    kernel.getAs<StepKernel>().holdWalkers(walkers);
}

void BiasedOverdampedLangevinIntegrator::getWalkerSteps(vector<int>& values) const {
    checkBound();
    kernel.getAs<StepKernel>().getWalkerSteps(values);
}

void BiasedOverdampedLangevinIntegrator::getWalkerLabels(vector<int>& values) const {
    checkBound();
    kernel.getAs<StepKernel>().getWalkerLabels(values);
}

void BiasedOverdampedLangevinIntegrator::setWalkerLabels(const vector<int>& values) {
    checkLength("setWalkerLabels", values.size());
    for (int value : values)
        check(value >= 0, "setWalkerLabels: "+to_string(value)+" is no label");
    kernel.getAs<StepKernel>().setWalkerLabels(values);
}

void BiasedOverdampedLangevinIntegrator::resampleWalkers(const vector<int>& parents) {
    checkLength("resampleWalkers", parents.size());
    for (int parent : parents)
        check(parent >= 0 && parent < numWalkers, "resampleWalkers: there is no walker "+to_string(parent));
    kernel.getAs<StepKernel>().resample(*context, parents);
}

void BiasedOverdampedLangevinIntegrator::watchWalkers(const vector<int>& regions) {
    checkLength("watchWalkers", regions.size());
    for (int region : regions)
        check(region >= 0 && region <= (int) absorbingRegions.size(), "watchWalkers: "+to_string(region)+" is no region");
    kernel.getAs<StepKernel>().watchWalkers(regions);
}

void BiasedOverdampedLangevinIntegrator::takeChanges(vector<Change>& changes, vector<double>& positions) {
    checkBound();
    kernel.getAs<StepKernel>().takeChanges(changes, positions);
}

void BiasedOverdampedLangevinIntegrator::createCheckpoint(ostream& stream) const {
    kernel.getAs<StepKernel>().createCheckpoint(stream);
}

void BiasedOverdampedLangevinIntegrator::loadCheckpoint(istream& stream) {
    kernel.getAs<StepKernel>().loadCheckpoint(stream);
}
