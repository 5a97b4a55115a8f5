#include "CommonCommittorKernel.h"
#include "CommonKernelSources.h"
#include "openmm/OpenMMException.h"
#include "openmm/common/ContextSelector.h"
#include "openmm/internal/ContextImpl.h"
#include <algorithm>
#include <cmath>

using namespace OpenMM;
using namespace OpenMMRare;
using namespace std;

typedef CommittorForce::Feature Feature;

/** Bytes of shared memory that every device has for a block of threads; what needs more goes into global memory. */
static const int SharedMemory = 32768;

static bool hasRadius(const Feature& feature) {
    return feature.kind == Feature::Coordination || feature.kind == Feature::CoordinationMoments || feature.kind == Feature::DiscGap;
}

/** Walkers whose numbers are neighbors: as many as threads read at once. */
static const int Lanes = 32;

/** Make an array of what a vector holds, or of one element if that is nothing. */
template <class T> static void put(ComputeContext& cc, ComputeArray& array, vector<T> values, const string& name) {
    values.resize(max<size_t>(values.size(), 1));
    array.initialize<T>(cc, values.size(), name);
    array.upload(values);
}

void CommonCalcCommittorForceKernel::initialize(const System& system, const CommittorForce& force) {
    if (system.usesPeriodicBoundaryConditions())
        throw OpenMMException("CommittorForce: this platform moves particles by periods of the box, so that this force cannot be "
                              "used in a periodic system; the platforms Reference and CPU can");
    ContextSelector selector(cc);
    numWalkers = force.getNumWalkers();
    numParticles = system.getNumParticles()/numWalkers;
    order.initialize(cc);
    map<string, string> defines;
    addFeatures(force, defines);
    addRows(force, defines);
    addNetwork(force, defines);
    createKernels(force, defines);
}

/** Tables of the parts that the features consist of, as kernels/committorFeatures.cc reads them. */
void CommonCalcCommittorForceKernel::addFeatures(const CommittorForce& force, map<string, string>& defines) {
    vector<double> radii;
    for (auto& feature : force.getFeatures())
        if (hasRadius(feature) && find(radii.begin(), radii.end(), feature.radius) == radii.end())
            radii.push_back(feature.radius);
    const double unit = radii.empty() ? 1.0 : radii[0];
    vector<float> allNumbers;
    vector<int> table, allColumns;
    for (double radius : radii)
        allNumbers.push_back((float) pow(unit/radius, 8));
    numRadii = radii.size();
    numFeatures = numSorted = 0;
    for (auto& feature : force.getFeatures()) {
        const int size = feature.size(numParticles);
        const int numColumns = feature.kind == Feature::Coordinates ? feature.columns.size() : 0;
        const bool isSorted = feature.sorted && (feature.kind == Feature::Distances || feature.kind == Feature::Coordination);
        const int radius = hasRadius(feature) ? find(radii.begin(), radii.end(), feature.radius)-radii.begin() : 0;
        table.insert(table.end(), {feature.kind, isSorted, numFeatures, size, radius, numSorted, numColumns,
                                   (int) allColumns.size(), (int) allNumbers.size()});
        allColumns.insert(allColumns.end(), feature.columns.begin(), feature.columns.begin()+numColumns);
        for (size_t i = 0; i < feature.values.size(); i++) {
            const bool counts = numColumns == 0 || feature.columns[i%numColumns]%3 < force.getNumDimensions();
            allNumbers.push_back(counts ? (float) feature.values[i] : 0.0f);
        }
        numFeatures += size;
        numSorted += isSorted ? size : 0;
    }
    put(cc, parts, table, "parts");
    put(cc, numbers, allNumbers, "numbers");
    put(cc, columns, allColumns, "columns");
    put(cc, inLogit, force.getInLogit(), "inLogit");
    defines["NUM_PARTICLES"] = cc.intToString(numParticles);
    defines["NUM_DIMENSIONS"] = cc.intToString(force.getNumDimensions());
    defines["NUM_PARTS"] = cc.intToString(force.getFeatures().size());
    defines["NUM_RADII"] = cc.intToString(numRadii);
    defines["NUM_FEATURES"] = cc.intToString(numFeatures);
    defines["NUM_IN_LOGIT"] = cc.intToString(force.getInLogit().size());
    defines["UNIT"] = "(float) "+cc.doubleToString(unit);
    defines["MIXED_UNIT"] = cc.doubleToString(unit, true);
    defines["DISTANCES"] = cc.intToString(Feature::Distances);
    defines["COORDINATION"] = cc.intToString(Feature::Coordination);
    defines["COORDINATION_MOMENTS"] = cc.intToString(Feature::CoordinationMoments);
    defines["DISC_GAP"] = cc.intToString(Feature::DiscGap);
    defines["COORDINATES"] = cc.intToString(Feature::Coordinates);
}

/** The rows of the work space of every group of walkers, each with one number for each of them. */
void CommonCalcCommittorForceKernel::addRows(const CommittorForce& force, map<string, string>& defines) {
    auto& features = force.getFeatures();
    const bool hasDistances = any_of(features.begin(), features.end(), [](const Feature& feature) {
        return feature.kind == Feature::Distances;
    });
    int numRows = 0;
    auto add = [&](const string& name, int count) {
        defines[name] = cc.intToString(numRows);
        numRows += count;
    };
    add("ROW_POSITIONS", force.getNumDimensions()*numParticles); // relative to the first particle, in units of UNIT
    add("ROW_NUMBERS", numRadii*numParticles);
    add("ROW_MOMENTS", 3*numRadii); // mean, second and third central moment
    add("ROW_FEATURES", numFeatures);
    add("ROW_GRADIENTS", numFeatures);
    add("ROW_LOGIT", 1); // later its derivative of ln I
    add("ROW_FIRST_SUM", 0);
    add("ROW_NUMBER_GRADIENTS", numRadii*numParticles);
    add("ROW_MOMENT_GRADIENTS", 2*numRadii);
    add("ROW_PAIR_SLOPES", hasDistances ? numParticles*(numParticles-1)/2 : 0);
    add("ROW_LAST_SUM", 0);
    defines["HAS_DISTANCES"] = cc.intToString(hasDistances);
    defines["HAS_PAIRS"] = cc.intToString(hasDistances || numRadii > 0);
    const size_t numPadded = (numWalkers+Lanes-1)/Lanes*Lanes;
    work.initialize<float>(cc, numRows*numPadded, "work");
    sorted.initialize<int>(cc, max(numSorted, 1)*numPadded, "sorted");
    cc.clearBuffer(work);
    defines["LANES"] = cc.intToString(Lanes);
    defines["NUM_ROWS"] = cc.intToString(numRows);
    defines["NUM_SORTED"] = cc.intToString(numSorted);
}

void CommonCalcCommittorForceKernel::addNetwork(const CommittorForce& force, map<string, string>& defines) {
    const vector<int>& all = force.getWidths();
    const int widest = *max_element(all.begin(), all.end());
    int numNeurons = 0, numWeights = 0;
    for (size_t i = 1; i < all.size(); i++) {
        numNeurons += all[i];
        numWeights += all[i-1]*all[i];
    }
    // a CPU does without barriers, and fills the lanes of its vectors with walkers
    blockSize = cc.getIsCPU() ? 1 : 64;
    const int numQuads = cc.getIsCPU() ? 4 : 2, bytes = 2*widest*numQuads*sizeof(mm_float4);
    const bool isLocal = bytes <= SharedMemory;
    numBlocks = min((numWalkers+4*numQuads-1)/(4*numQuads), cc.getNumThreadBlocks());
    put(cc, widths, all, "widths");
    weights.initialize<float>(cc, numWeights, "weights");
    transposed.initialize<float>(cc, numWeights, "transposed");
    biases.initialize<float>(cc, numNeurons, "biases");
    slopes.initialize<mm_float4>(cc, (size_t) numNeurons*numQuads*numBlocks, "slopes");
    values.initialize<mm_float4>(cc, isLocal ? 1 : (size_t) 2*widest*numQuads*numBlocks, "values");
    copyParametersToContext(*cc.getContextImpl(), force);
    defines["NUM_LAYERS"] = cc.intToString(all.size()-2);
    defines["NUM_NEURONS"] = cc.intToString(numNeurons);
    defines["WIDEST"] = cc.intToString(widest);
    defines["QUADS"] = cc.intToString(numQuads);
    defines["VALUES_ARE_LOCAL"] = cc.intToString(isLocal);
    defines["BLOCK"] = cc.intToString(blockSize);
    defines["ACTIVATION"] = cc.intToString(force.getActivation());
    defines["SILU"] = cc.intToString(CommittorForce::SiLU);
    defines["TANH"] = cc.intToString(CommittorForce::Tanh);
}

void CommonCalcCommittorForceKernel::createKernels(const CommittorForce& force, const map<string, string>& defines) {
    ComputeProgram program = cc.compileProgram(CommonKernelSources::positions+CommonKernelSources::committorFeatures
            +CommonKernelSources::committorNetwork, defines);
    auto create = [&](const string& name, int numEmpty, const vector<ArrayInterface*>& arrays) {
        ComputeKernel kernel = program->createKernel(name);
        kernel->addArg(numWalkers);
        for (int i = 0; i < numEmpty; i++)
            kernel->addArg();
        for (auto* array : arrays)
            kernel->addArg(*array);
        return kernel;
    };
    ArrayInterface &posq = cc.getPosq(), &places = order.getPlaces();
    ArrayInterface& corrections = cc.getUseMixedPrecision() ? cc.getPosqCorrection() : posq;
    featureKernel = create("computeFeatures", 0, {&posq, &corrections, &places, &parts, &numbers, &columns, &work, &sorted});
    networkKernel = create("evaluateNetwork", 1, {&widths, &weights, &transposed, &biases, &slopes, &values, &work});
    logitKernel = create("finishLogits", 3, {&parts, &numbers, &inLogit, &work, &sorted, &cc.getEnergyBuffer()});
    forceKernel = create("addForces", 2, {&places, &parts, &numbers, &columns, &work, &cc.getLongForceBuffer()});
    forceKernel->setArg(1, cc.getPaddedNumAtoms());
    if (cc.getUseDoublePrecision() || cc.getUseMixedPrecision()) {
        logitKernel->setArg(3, force.getScale());
        forceKernel->setArg(2, force.getScale());
    }
    else {
        logitKernel->setArg(3, (float) force.getScale());
        forceKernel->setArg(2, (float) force.getScale());
    }
}

void CommonCalcCommittorForceKernel::copyParametersToContext(ContextImpl& context, const CommittorForce& force) {
    ContextSelector selector(cc);
    const vector<int>& all = force.getWidths();
    const double* next = force.getParameters().data();
    vector<float> newWeights, newTransposed, newBiases;
    for (size_t layer = 1; layer < all.size(); layer++) {
        const int numIn = all[layer-1], numOut = all[layer];
        for (int in = 0; in < numIn; in++)
            for (int out = 0; out < numOut; out++)
                newWeights.push_back((float) next[out*numIn+in]);
        newTransposed.insert(newTransposed.end(), next, next+numIn*numOut);
        next += numIn*numOut;
        newBiases.insert(newBiases.end(), next, next+numOut);
        next += numOut;
    }
    weights.upload(newWeights);
    transposed.upload(newTransposed);
    biases.upload(newBiases);
}

double CommonCalcCommittorForceKernel::execute(ContextImpl& context, bool includeForces, bool includeEnergy) {
    ContextSelector selector(cc);
    featureKernel->execute(numWalkers);
    networkKernel->setArg(1, (int) includeForces);
    networkKernel->execute(numBlocks*blockSize, blockSize);
    logitKernel->setArg(1, (int) includeForces);
    logitKernel->setArg(2, (int) includeEnergy);
    logitKernel->execute(numWalkers);
    if (includeForces)
        forceKernel->execute(cc.getNumAtoms());
    return 0.0; // it is in the energy buffer
}
